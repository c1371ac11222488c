// The code of both pages runs, and what they say of versions and options is so.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import ts from "typescript";

import { VERSION } from "../src/options.js";
import { startServer, type TestServer } from "../src/testing.js";
import { HERE } from "./help.js";

let server: TestServer;
let directory: string;

// What the examples need of other packages.
const STUBS = {
  "@nestjs/common": `const nothing = () => () => undefined;
    export { nothing as Inject, nothing as Injectable, nothing as Module };`,
  "@opentelemetry/api": `const span = { setStatus() {}, recordException() {}, end() {} };
    export const trace = { getTracer: () => ({ startSpan: () => span }) };`,
};

before(async () => {
  server = await startServer();
  directory = mkdtempSync(join(tmpdir(), "chatshard-ts-readme-"));
  const modules = join(directory, "node_modules");
  mkdirSync(modules);
  symlinkSync(HERE, join(modules, "chatshard"));
  for (const [name, text] of Object.entries(STUBS)) {
    mkdirSync(join(modules, name), { recursive: true });
    writeFileSync(join(modules, name, "package.json"), '{ "type": "module", "main": "index.js" }');
    writeFileSync(join(modules, name, "index.js"), text);
  }
});

after(async () => {
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
});

function blocks(page: string): string[] {
  const text = readFileSync(join(HERE, page), "utf8");
  return [...text.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code!);
}

/** Runs a program to its end. Returns what it prints. */
async function run(path: string, env: NodeJS.ProcessEnv): Promise<string> {
  const child = spawn(process.execPath, [path], { cwd: directory, env });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (part) => (out += part));
  child.stderr.setEncoding("utf8").on("data", (part) => (out += part));
  const kill = setTimeout(() => child.kill("SIGKILL"), 20_000);
  const exit = await new Promise((resolve) => child.once("close", resolve));
  clearTimeout(kill);
  assert.equal(exit, 0, out);
  return out;
}

for (const page of ["README.md", "README.zh-CN.md"]) {
  for (const [i, code] of blocks(page).entries()) {
    test(`${page}, block ${i + 1}`, async () => {
      const { outputText, diagnostics } = ts.transpileModule(code, {
        reportDiagnostics: true,
        compilerOptions: {
          target: ts.ScriptTarget.ES2022,
          module: ts.ModuleKind.ESNext,
          experimentalDecorators: true,
        },
      });
      assert.deepEqual(diagnostics, []);
      const path = join(directory, `${page}-${i}.mjs`);
      writeFileSync(path, outputText);
      const env = { ...process.env, CHATSHARD_ADDR: server.tcp, CHATSHARD_HTTP: server.http! };
      const out = await run(path, env);
      if (i === 0) assert.match(out, /: 1 .*\n(.*\n)*read /);
    });
  }
}

test("the code of the pages has the types of the package, with nothing of Node in browsers", () => {
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    experimentalDecorators: true,
    typeRoots: [join(HERE, "node_modules", "@types")],
  };
  const files = blocks("README.md").map((code, i) => {
    const path = join(directory, `block-${i}.mts`);
    writeFileSync(path, code);
    return path;
  });
  const own = files.filter((path) => !readFileSync(path, "utf8").includes("@"));
  assert.ok(own.length >= 6);
  assert.deepEqual(complaints(own, { ...options, lib: ["lib.es2022.d.ts"], types: ["node"] }), []);
  const browser = join(directory, "browser.mts");
  const use = `import { AppClient, type Conversation } from "chatshard/app";
    const app = new AppClient({ url: "/", token: async () => "t" });
    export const names: string[] = (await app.list()).items.map((row) => row.id);
    export const one: Conversation | undefined = (await app.conversations()).items[0];`;
  writeFileSync(browser, use);
  const lib = ["lib.es2022.d.ts", "lib.dom.d.ts"];
  assert.deepEqual(complaints([browser], { ...options, lib, types: [] }), []);
});

/** What the compiler says of the files. */
function complaints(files: string[], options: ts.CompilerOptions): string[] {
  const found = ts.getPreEmitDiagnostics(ts.createProgram(files, options));
  return found.map((one) => ts.flattenDiagnosticMessageText(one.messageText, "\n"));
}

test("the example goes through a crash of its server", async () => {
  const example = join(HERE, "..", "..", "examples", "typescript", "backend.mjs");
  const path = join(directory, "backend.mjs");
  copyFileSync(example, path);
  const out = await run(path, process.env);
  assert.match(out, /bob's screen: .*unread: 2/);
  assert.match(out, /pushed: \[ 'Hello Bob', 'Are you there\?', 'I am' \]/);
  assert.match(out, /alice's screen: .*unread: 1/);
});

test("the version stands in both places", () => {
  const { version } = JSON.parse(readFileSync(join(HERE, "package.json"), "utf8"));
  assert.equal(version, VERSION);
});

test("the page has every option, and no other", () => {
  const source = readFileSync(join(HERE, "src", "options.ts"), "utf8");
  const body = /export interface ClientOptions \{(.*?)^\}/ms.exec(source)![1]!;
  const options = [...body.matchAll(/^  (\w+)\?:/gm)].map(([, name]) => name);
  const page = readFileSync(join(HERE, "README.md"), "utf8");
  const section = page.slice(page.indexOf("## Options"), page.indexOf("## Changes"));
  const documented = [...section.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
  assert.deepEqual(documented, options);
});
