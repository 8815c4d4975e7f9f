// Compiles src/ into lib/ for JupyterLab's builder, and bundles the widget into a single file.
// Types are checked separately (`npm run typecheck`), so that building needs neither TypeScript nor JupyterLab's packages.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const sources = readdirSync("src", { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name));

const options = { format: "esm", target: "es2022", charset: "utf8", logLevel: "warning" };

await build({ ...options, entryPoints: sources, outdir: "lib", outbase: "src" });
await build({ ...options, entryPoints: ["src/widget.ts"], outfile: "../jupyter_pipelines/static/widget.js", bundle: true, minify: true });
