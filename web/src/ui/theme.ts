/** Light, dark, or as the system says: one attribute on the root, which the styles' light-dark() follows. */
export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export function applyTheme(theme: string | null = localStorage.getItem("ragkeep-theme")): void {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}
