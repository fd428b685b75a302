/** Builds the page into ragkeep/serving/web: `npm ci && npm run build`. The same sources give the same bytes. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { defineConfig, type Plugin } from "vite";

const root = import.meta.dirname;
const out = resolve(root, "../ragkeep/serving/web");
const SOURCES = ["index.html", "package-lock.json", "package.json", "src", "tsconfig.json", "vite.config.ts"];

function files(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).flatMap((name) => files(join(path, name)));
}

function hashes(base: string, paths: string[]): Record<string, string> {
  const names = paths.map((path) => relative(base, path).replaceAll("\\", "/")).sort();
  return Object.fromEntries(
    names.map((name) => [name, createHash("sha256").update(readFileSync(join(base, name))).digest("hex")]),
  );
}

/** Write manifest.json: one hash over all sources, and each built file's own. tests/test_web_bundle.py reads it. */
function manifest(): Plugin {
  return {
    name: "manifest",
    closeBundle() {
      const paths = SOURCES.flatMap((name) => files(join(root, name))).filter((path) => !path.includes(".test."));
      const lines = Object.entries(hashes(root, paths)).map(([name, hash]) => `${hash}  ${name}\n`);
      const sources = createHash("sha256").update(lines.join("")).digest("hex");
      const built = hashes(out, files(out).filter((path) => !path.endsWith("manifest.json")));
      writeFileSync(join(out, "manifest.json"), `${JSON.stringify({ sources, files: built }, null, 1)}\n`);
    },
  };
}

export default defineConfig({
  root,
  base: "./", // the page asks for everything relative to itself, so it also works below a path
  plugins: [manifest()],
  build: {
    outDir: out,
    emptyOutDir: true,
    sourcemap: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: ["chrome123", "firefox121", "safari17.5"],
    reportCompressedSize: false,
  },
  server: { proxy: { "/v1": "http://127.0.0.1:8080", "/health": "http://127.0.0.1:8080" } },
});
