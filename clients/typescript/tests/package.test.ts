// The package as users get it: both builds, a process that ends by itself, the helper for tests.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { connect } from "../src/index.js";
import { tracing } from "../src/opentelemetry.js";
import { startServer, type TestServer } from "../src/testing.js";
import { HERE } from "./help.js";

let server: TestServer;
let directory: string;

before(async () => {
  server = await startServer();
  directory = mkdtempSync(join(tmpdir(), "chatshard-ts-user-"));
  mkdirSync(join(directory, "node_modules"));
  symlinkSync(HERE, join(directory, "node_modules", "chatshard"));
});

after(async () => {
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** Runs a program beside the package. Returns what it prints, and its time after that in ms. */
async function run(name: string, text: string): Promise<{ out: string; restMs: number }> {
  const path = join(directory, name);
  writeFileSync(path, text);
  const env = { ...process.env, CHATSHARD_ADDR: server.tcp, CHATSHARD_HTTP: server.http ?? "" };
  const child = spawn(process.execPath, [path], { env, cwd: directory });
  let out = "";
  let last = performance.now();
  child.stdout.setEncoding("utf8").on("data", (part) => {
    out += part;
    last = performance.now();
  });
  child.stderr.setEncoding("utf8").on("data", (part) => (out += part));
  const kill = setTimeout(() => child.kill("SIGKILL"), 20_000);
  const code = await new Promise((resolve) => child.once("close", resolve));
  clearTimeout(kill);
  assert.equal(code, 0, out);
  return { out, restMs: performance.now() - last };
}

const BODY = `
  const client = await connect({ addresses: process.env.CHATSHARD_ADDR });
  await client.ping();
  const watch = client.watch();
  await watch.ready();
  await client.list({ userId: "u" });
  await client.close();
  console.log("closed");
`;

test("a program with ESM ends by itself within a second", async () => {
  const { out, restMs } = await run("esm.mjs", `import { connect } from "chatshard";\n${BODY}`);
  assert.equal(out.trim(), "closed");
  assert.ok(restMs < 1000, `it took ${restMs} ms`);
});

test("a program with CommonJS ends by itself within a second", async () => {
  const text = `const { connect } = require("chatshard");\n(async () => {${BODY}})();`;
  const { out, restMs } = await run("cjs.cjs", text);
  assert.equal(out.trim(), "closed");
  assert.ok(restMs < 1000, `it took ${restMs} ms`);
});

test("a call that waits keeps the process alive until its deadline", async () => {
  const { out } = await run(
    "down.mjs",
    `import { Client } from "chatshard";
    const client = new Client({ addresses: "127.0.0.1:1", callTimeoutMs: 300 });
    await client.list({ userId: "u" }).catch((error) => console.log(error.outcome));
    await client.close();`,
  );
  assert.equal(out.trim(), "notApplied");
});

test("all entries load in both builds, and none needs another package", async () => {
  const entries = ["chatshard", "chatshard/app", "chatshard/testing", "chatshard/opentelemetry"];
  const imports = entries.map((entry) => `await import("${entry}")`).join(", ");
  const requires = entries.map((entry) => `require("${entry}")`).join(", ");
  const print = "console.log(all.every((one) => Object.keys(one).length > 0))";
  assert.equal((await run("all.mjs", `const all = [${imports}]; ${print}`)).out.trim(), "true");
  assert.equal((await run("all.cjs", `const all = [${requires}]; ${print}`)).out.trim(), "true");
  const { dependencies } = JSON.parse(readFileSync(join(HERE, "package.json"), "utf8"));
  assert.equal(dependencies, undefined);
  for (const name of readdirSync(join(HERE, "src"))) {
    for (const from of importsOf(name)) assert.match(from, /^(node:|\.\/)/, name);
  }
  assert.deepEqual(reachable("app.ts").filter((from) => from.startsWith("node:")), []);
});

/** What a file imports that is more than a type. */
function importsOf(name: string): string[] {
  const text = readFileSync(join(HERE, "src", name), "utf8");
  const all = [...text.matchAll(/^(import|export)( type)? [^;]*?from "([^"]+)";/gm)];
  return all.filter(([, , type]) => type === undefined).map(([, , , from]) => from!);
}

/** All that a file imports, and what that imports. */
function reachable(name: string, found = new Set<string>()): string[] {
  for (const from of importsOf(name)) {
    if (found.has(from)) continue;
    found.add(from);
    if (from.startsWith("./")) reachable(from.slice(2).replace(/\.js$/, ".ts"), found);
  }
  return [...found];
}

test("the server of the helper serves, and its directory goes with it", async () => {
  const own = await startServer({ args: ["--shards", "1"] });
  const client = await connect({ addresses: own.tcp });
  assert.equal((await client.stats()).shards.length, 1);
  const { path } = await client.snapshot();
  await client.close();
  await own.stop();
  await assert.rejects(connect({ addresses: own.tcp, connectTimeoutMs: 500 }));
  assert.throws(() => readFileSync(path), /ENOENT/);
});

test("await using closes a client, and stops a server", async () => {
  let address = "";
  {
    await using own = await startServer({ args: ["--shards", "1"] });
    await using client = await connect({ addresses: own.tcp });
    await using watch = client.watch();
    await watch.ready();
    address = own.tcp;
  }
  await assert.rejects(connect({ addresses: address, connectTimeoutMs: 500 }));
});

test("a server that does not start is an error with what it said", async () => {
  await assert.rejects(startServer({ program: "/no/such/program" }), /did not start.*ENOENT/s);
  await assert.rejects(startServer({ args: ["--shards", "0"] }), /ended with/);
});

test("a span for each attempt", async () => {
  const spans: { name: string; options: any; ended: boolean }[] = [];
  const tracer = {
    startSpan(name: string, options: unknown) {
      const span = { name, options: options as any, ended: false };
      spans.push(span);
      return { setStatus: () => 0, recordException: () => 0, end: () => (span.ended = true) };
    },
  };
  const client = await connect({ addresses: server.tcp, hooks: tracing(tracer) });
  await client.ping();
  await client.detail({ ids: [""] }).catch(() => undefined);
  await client.close();
  assert.deepEqual(spans.map((one) => one.name), ["chatshard ping", "chatshard detail"]);
  const outcomes = spans.map((one) => one.options.attributes["chatshard.outcome"]);
  assert.deepEqual(outcomes, ["ok", "refused"]);
  assert.ok(spans.every((one) => one.ended));
});
