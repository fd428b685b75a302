/** Who is looking, and at which workspace: what every part of the page needs to know. */
import { createContext, useContext } from "react";
import type { Me, Model, Role, Workspace } from "./api/types";

export type Session = {
  me: Me;
  workspace: string;
  workspaces: Workspace[];
  role: Role;
  models: Model[];
  setWorkspace: (id: string) => void;
  reload: () => void;
};

export const SessionContext = createContext<Session | null>(null);

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error("useSession needs a SessionContext above it");
  return session;
}
