import { type DependencyList, useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { ApiError, troubleOf } from "../api/client";

export type Loaded<T> = { data?: T; problem?: string; trace?: string; status?: number; loading: boolean; reload: () => void };

/** Load something and again on reload(); what was shown stays until the new arrives. `everyMs` polls. */
export function useLoad<T>(load: (signal: AbortSignal) => Promise<T>, deps: DependencyList, everyMs?: number): Loaded<T> {
  const [state, setState] = useState<Omit<Loaded<T>, "reload">>({ loading: true });
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => setState({ loading: true }), deps); // another subject: nothing of the old one may stay
  useEffect(() => {
    const control = new AbortController();
    latest.current(control.signal).then(
      (data) => setState({ data, loading: false }),
      (error: unknown) => {
        if (control.signal.aborted) return;
        const status = error instanceof ApiError ? error.status : undefined;
        const { message: problem, trace } = troubleOf(error);
        setState((now) => ({ data: now.data, problem, trace, status, loading: false }));
      },
    );
    return () => control.abort();
  }, [...deps, round]);
  const reload = useCallback(() => setRound((now) => now + 1), []);
  useEffect(() => {
    const timer = everyMs && setInterval(() => document.hidden || reload(), everyMs);
    return () => clearInterval(timer || undefined);
  }, [everyMs, reload]);
  return { ...state, reload };
}

const subscribeHash = (listen: () => void) => {
  window.addEventListener("hashchange", listen);
  return () => window.removeEventListener("hashchange", listen);
};

/** The place in the page, as the parts of the address behind #. */
export function useRoute(): string[] {
  const hash = useSyncExternalStore(subscribeHash, () => location.hash);
  return hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);
}

export const go = (...parts: string[]) => {
  location.hash = `#/${parts.map(encodeURIComponent).join("/")}`;
};

export function useMedia(query: string): boolean {
  const subscribe = useCallback(
    (listen: () => void) => {
      const media = matchMedia(query);
      media.addEventListener("change", listen);
      return () => media.removeEventListener("change", listen);
    },
    [query],
  );
  return useSyncExternalStore(subscribe, () => matchMedia(query).matches);
}

/** A value kept in this browser. */
export function useKept<T extends string>(name: string, initial: T): [T, (value: T) => void] {
  const key = `ragkeep-${name}`;
  const [value, setValue] = useState<T>(() => (localStorage.getItem(key) as T | null) ?? initial);
  const keep = useCallback((next: T) => (localStorage.setItem(key, next), setValue(next)), [key]);
  return [value, keep];
}
