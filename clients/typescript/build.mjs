// Builds the package: ESM and CommonJS with types, in dist/. With `npm run build`.

import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

rmSync("dist", { recursive: true, force: true });
for (const [name, type, module, resolution] of [
  ["esm", "module", "NodeNext", "NodeNext"],
  ["cjs", "commonjs", "CommonJS", "Node10"],
]) {
  const directory = `dist/${name}`;
  mkdirSync(directory, { recursive: true });
  const how = ["--module", module, "--moduleResolution", resolution];
  execFileSync(process.execPath, [tsc, "-p", "tsconfig.build.json", "--outDir", directory, ...how], {
    stdio: "inherit",
  });
  writeFileSync(`${directory}/package.json`, `{ "type": "${type}" }\n`);
}
// A copy of this directory alone has no license beside it.
if (existsSync("../../LICENSE")) copyFileSync("../../LICENSE", "LICENSE");
else console.error("there is no ../../LICENSE to copy: do not publish this package");
