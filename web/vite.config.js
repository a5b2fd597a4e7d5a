// The page is built into the package, under names that do not change with their content: a server sends it to one user.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vite";

const LICENCES = "licences.md";
const SOURCES = ["index.html", "niivue-licence.txt", "package.json", "package-lock.json", "tsconfig.json", "vite.config.js"];

// What the build was made of, so that a test finds one that is older than its sources (tests/server/test_page_build.py).
function sourcesDigest() {
  const files = [...SOURCES, ...readdirSync("src").map((name) => join("src", name))].sort();
  const lines = files.map((name) => `${createHash("sha256").update(readFileSync(name)).digest("hex")}  ${name}\n`);
  return lines.join("");
}

// NiiVue's package has no file of its licence, so the build would name it without its text.
function withNiivueLicence(folder) {
  const place = join(folder, LICENCES);
  const text = readFileSync("niivue-licence.txt", "utf-8");
  const told = readFileSync(place, "utf-8").replace(/^(## @niivue\/niivue .*)$/m, (title) => `${title}\n\n${text.trimEnd()}`);
  writeFileSync(place, told);
}

export default defineConfig({
  base: "./",
  // NiiVue reads Zarr by these, which nothing here is; they are a megabyte of WebAssembly.
  resolve: { alias: Object.fromEntries(["blosc", "lz4", "zstd"].map((name) => [`numcodecs/${name}`, "/src/no_codec.ts"])) },
  plugins: [
    {
      name: "sources-digest",
      generateBundle() {
        this.emitFile({ type: "asset", fileName: "sources.sha256", source: sourcesDigest() });
      },
    },
    {
      name: "niivue-licence",
      writeBundle: { order: "post", sequential: true, handler: ({ dir }) => withNiivueLicence(dir) },
    },
  ],
  build: {
    outDir: "../src/tomoseg/server/page",
    emptyOutDir: true,
    modulePreload: false,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 5000,
    license: { fileName: LICENCES },
    rollupOptions: {
      output: { entryFileNames: "[name].js", chunkFileNames: "[name].js", assetFileNames: "[name][extname]" },
    },
  },
});
