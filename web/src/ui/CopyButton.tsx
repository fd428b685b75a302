import { useEffect, useState } from "react";
import { Icon } from "./Icon";

export function CopyButton({ text, label = "Copy", wide = false }: { text: string; label?: string; wide?: boolean }) {
  const [copied, setCopied] = useState<"yes" | "no">();
  useEffect(() => {
    const timer = copied && setTimeout(() => setCopied(undefined), 1600);
    return () => clearTimeout(timer);
  }, [copied]);
  const said = copied === "yes" ? "Copied" : copied === "no" ? "Copying is not allowed here" : label;
  return (
    <button
      type="button"
      className={wide ? "button" : "icon-button"}
      aria-label={said}
      title={said}
      onClick={() => void copy(text).then((done) => setCopied(done ? "yes" : "no"))}
    >
      <Icon name={copied === "yes" ? "check" : "copy"} />
      {wide && said}
    </button>
  );
}

/** Copy by the clipboard API, or where that is missing (plain http beyond this machine) by a selection. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "sr-only";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
