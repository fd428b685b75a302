/** The icons: strokes on a 20 x 20 grid, drawn for this page. They repeat what a label says, so readers skip them. */
const PATHS = {
  plus: "M10 4v12M4 10h12",
  chat: "M4 5.5h12v8H9l-3.5 3v-3H4z",
  file: "M6 3h5.5L15 6.5V17H6zM11.5 3v3.5H15",
  pulse: "M2.5 10.5h3.5L8 5l4 10 2-4.5h3.5",
  send: "M10 16V4.5M5 9l5-5 5 5",
  stop: "M6 6h8v8H6z",
  close: "M5 5l10 10M15 5L5 15",
  menu: "M3 6h14M3 10h14M3 14h14",
  copy: "M7.5 7.5h8v8h-8zM12.5 7.5v-3h-8v8h3",
  check: "M4 10.5l4 4 8-9",
  up: "M6.5 9v7.5M6.5 9.5l3-6c1.2 0 2 .8 2 2L11 8h4.2c1 0 1.6.8 1.4 1.7l-1.2 5.3c-.2.9-.8 1.5-1.7 1.5H6.5zM3.5 9v7.5",
  pencil: "M4 16l.8-3.6L13.5 3.7l2.8 2.8-8.7 8.7z",
  retry: "M16 10a6 6 0 1 1-2-4.5M14.5 2.5v3.3h-3.3",
  trash: "M4 6h12M8 6V4h4v2M5.5 6l.7 10.5h7.6l.7-10.5M8.5 9v4.5M11.5 9v4.5",
  upload: "M10 13V4.5M6.5 8L10 4.5 13.5 8M4 13v3h12v-3",
  sun: "M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1",
  moon: "M16 12.2A6.5 6.5 0 0 1 7.8 4a6.5 6.5 0 1 0 8.2 8.2z",
  auto: "M3.5 4.5h13v9h-13zM8 16.5h4M10 13.5v3",
  arrow: "M10 4v11.5M5 11l5 5 5-5",
  key: "M12.5 3.5a4 4 0 1 1-3.8 5.3L3.5 14v2.5H7v-2h2l1-2.5M13.2 6.8v.1",
  info: "M10 2.8a7.2 7.2 0 1 0 0 14.4 7.2 7.2 0 0 0 0-14.4zM10 9v4.5M10 6.4v.1",
  warn: "M10 3.5l7 12.5H3zM10 8v4M10 14v.1",
  tune: "M3 6h8M15 6h2M3 14h2M9 14h8M13 4v4M7 12v4",
  left: "M12 4.5L6.5 10l5.5 5.5",
} as const;

export type IconName = keyof typeof PATHS | "down";

export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      {name === "down" ? <path d={PATHS.up} transform="rotate(180 10 10)" /> : <path d={PATHS[name]} />}
    </svg>
  );
}

export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="7" />
      <path d="M8 8h4v3h2.5V8h3v3H20V8h4v7l-2 2v7h-4v-4a2 2 0 0 0-4 0v4h-4v-7l-2-2z" />
    </svg>
  );
}
