// The client of the HTTP door, against a server.

import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import { after, before, test } from "node:test";

import * as app from "../src/app.js";
import { type Client, connect } from "../src/index.js";
import { startServer, type TestServer } from "../src/testing.js";

let server: TestServer;
let backend: Client;
let alice: app.AppClient;

before(async () => {
  server = await startServer();
  backend = await connect({ addresses: server.tcp });
  alice = new app.AppClient({ url: `http://${server.http}/`, userId: "alice" });
  for (const id of ["g1", "g2", "g3"]) {
    await backend.create({ id, type: 2, creatorId: "bob", userIds: ["alice", "bob"] });
    await backend.advance({ chatId: id, to: 5, senderId: "bob" });
  }
});

after(async () => {
  await backend.close();
  await server.stop();
});

test("all routes of the door", async () => {
  const spec = (await (await fetch(`http://${server.http}/openapi.json`)).json()) as any;
  const called = new Set<string>();
  const watched = new app.AppClient({
    url: `http://${server.http}`,
    userId: "alice",
    fetch: (url, init) => {
      called.add(new URL(String(url)).pathname);
      return fetch(url, init);
    },
  });
  assert.deepEqual((await watched.list({ limit: 2 })).items.map((row) => row.id), ["g3", "g2"]);
  const all = await watched.list();
  assert.equal(all.items.length, 3);
  assert.equal(all.items[0]!.chatId, "g3");
  const { items } = await watched.detail({ ids: ["g1", "none"] });
  assert.deepEqual([items.length, items[0]!.lastSequence, items[0]!.creatorId], [1, 5, "bob"]);
  const page = await watched.conversations({ limit: 1, unreadOnly: true });
  assert.deepEqual([page.items[0]!.unread, page.moved], [5, false]);
  const next = await watched.conversations({ limit: 1, unreadOnly: true, cursor: page.nextCursor });
  assert.notEqual(next.items[0]!.id, page.items[0]!.id);
  assert.deepEqual(await watched.markRead({ chatId: "g1", seq: 3 }), { maxReadSeq: 3, unread: 2 });
  const unread = { messages: 12, chats: 3, mutedMessages: 0, mutedChats: 0 };
  assert.deepEqual(await watched.unread(), unread);
  const { row, version } = await watched.setFlags({ chatId: "g1", isTop: 1 });
  assert.deepEqual([row.id, row.isTop], ["g1", 1]);
  assert.deepEqual(await watched.clear({ chatId: "g2" }), { deletedToSeq: 5 });
  await watched.delete({ ids: ["g3"], upTo: 5 });
  const changes = await watched.sync();
  const since = { log: changes.log, version: changes.version };
  assert.ok(version < since.version);
  assert.deepEqual((await watched.sync({ since })).items, []);
  assert.deepEqual([...called].sort(), Object.keys(spec.paths).sort());
});

test("the types have the fields of the answers", async () => {
  const { items } = await alice.conversations();
  const [wire] = (await backend.conversations({ userId: "alice" })).items;
  assert.deepEqual(Object.keys(items[0]!).sort(), Object.keys(wire!).sort());
});

test("a key makes a repeat safe, and each write has one", async () => {
  const keys: (string | null)[] = [];
  let isFirst = true;
  const flaky = new app.AppClient({
    url: `http://${server.http}`,
    userId: "alice",
    fetch: async (url, init) => {
      keys.push(new Headers(init?.headers).get("Idempotency-Key"));
      const reply = await fetch(url, init);
      if (isFirst) {
        isFirst = false;
        throw new TypeError("the answer was lost");
      }
      return reply;
    },
  });
  await flaky.setFlags({ chatId: "g1", isMute: 1 });
  assert.equal(keys.length, 2);
  assert.equal(keys[0], keys[1]);
  assert.match(keys[0]!, /^[0-9a-f]{32}$/);
  isFirst = true;
  const plain = flaky.setFlags({ chatId: "g1", isMute: 0, idempotencyKey: "my key" });
  await plain;
  assert.equal(keys.at(-1), "my key");
  await assert.rejects(
    alice.setFlags({ chatId: "g1", isMute: 1, idempotencyKey: "my key" }),
    app.ConflictError,
  );
});

test("errors have the classes of the other client", async () => {
  await assert.rejects(alice.markRead({ chatId: "none", seq: 1 }), (error: unknown) => {
    assert.ok(error instanceof app.NotFoundError);
    assert.deepEqual([error.outcome, error.status, error.code], ["refused", 404, "not_found"]);
    return true;
  });
  await assert.rejects(alice.markRead({ chatId: "g1", seq: 99 }), app.InvalidArgumentError);
  const nobody = new app.AppClient({ url: `http://${server.http}` });
  await assert.rejects(nobody.list(), app.UnauthenticatedError);
  const stranger = new app.AppClient({ url: "http://127.0.0.1:1", timeoutMs: 150 });
  await assert.rejects(stranger.list(), (error: unknown) => {
    assert.ok(error instanceof app.ConnectionError);
    assert.equal(error.outcome, "notApplied");
    return true;
  });
  await assert.rejects(stranger.clear({ chatId: "c" }), { outcome: "unknown" });
});

test("an error keeps its name in a bundle that renames classes", () => {
  const kinds = [...Object.values(app.ERRORS), app.ServerError, app.ChatshardError];
  for (const kind of kinds) {
    class e extends kind {}
    assert.equal((new e("", { outcome: "refused" }) as Error).name, kind.name);
  }
  for (const kind of [app.ArgumentError, app.DeadlineError, app.ConnectionError]) {
    class e extends kind {}
    assert.equal((new e("", "unknown") as Error).name, kind.name);
  }
});

test("what no repeat mends fails at once", async () => {
  const url = `http://${server.http}`;
  type Kind = new (...a: never[]) => Error;
  const fails = async (options: app.AppOptions, kind: Kind, text: RegExp) => {
    const begun = performance.now();
    const client = new app.AppClient({ timeoutMs: 30_000, ...options });
    await assert.rejects(client.list(), (error: Error) => {
      assert.ok(error instanceof kind, String(error));
      assert.match(error.message, text);
      return true;
    });
    assert.ok(performance.now() - begun < 10_000);
  };
  assert.throws(() => new app.AppClient({} as app.AppOptions), app.ArgumentError);
  for (const wrong of [server.http!, "localhost:7780", "/api", "ftp://host"]) {
    await fails({ url: wrong }, app.ArgumentError, /no URL of an HTTP door/);
  }
  await fails({ url, userId: "a\nb" }, app.ArgumentError, /the value of X-User-Id/);
  await fails({ url, token: "会话" }, app.ArgumentError, /the value of Authorization/);
  const token = () => Promise.reject(new Error("the session is over"));
  await fails({ url, token }, app.ChatshardError, /no token: the session is over/);
  await fails({ url: `http://${server.tcp}` }, app.InvalidArgumentError, /this is the TCP door/);
  await withServer(
    (_, reply) => void reply.end("<html>log in</html>"),
    (page) => fails({ url: page }, app.ProtocolError, /not from chatshard/),
  );
});

test("a token that never comes does not hold a call", async () => {
  const token = () => new Promise<string>(() => undefined);
  const client = new app.AppClient({ url: `http://${server.http}`, token });
  const late = client.delete({ ids: [] }, { timeoutMs: 100 });
  await assert.rejects(late, (error: unknown) => {
    assert.ok(error instanceof app.DeadlineError);
    assert.equal(error.outcome, "notApplied");
    return true;
  });
  const signal = AbortSignal.timeout(50);
  await assert.rejects(client.list({}, { signal }), app.AbortedError);
});

test("an id outside ASCII", async () => {
  await backend.create({ id: "会话", type: 2, creatorId: "爱丽丝", userIds: ["爱丽丝"] });
  const user = new app.AppClient({ url: `http://${server.http}`, userId: "爱丽丝" });
  assert.deepEqual((await user.list()).items.map((row) => row.id), ["会话"]);
});

async function withServer(
  listener: RequestListener,
  run: (url: string) => Promise<void>,
): Promise<void> {
  const http = createServer(listener);
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as { port: number };
  try {
    await run(`http://127.0.0.1:${port}`);
  } finally {
    http.closeAllConnections();
    http.close();
  }
}

test("a gateway that answers itself, is busy, or is silent", async () => {
  await withServer(
    (_, reply) => void reply.end("<html>hello</html>"),
    async (url) => {
      const client = new app.AppClient({ url, timeoutMs: 150 });
      await assert.rejects(client.list(), app.ProtocolError);
    },
  );
  let count = 0;
  await withServer(
    (_, reply) => {
      count++;
      reply.statusCode = count < 3 ? 429 : 200;
      reply.end(JSON.stringify({ code: reply.statusCode, data: null, msg: "" }));
    },
    async (url) => new app.AppClient({ url }).delete({ ids: [] }),
  );
  assert.equal(count, 3);
  await withServer(
    () => undefined,
    async (url) => {
      const client = new app.AppClient({ url, timeoutMs: 100 });
      await assert.rejects(client.delete({ ids: [] }), (error: unknown) => {
        assert.ok(error instanceof app.DeadlineError);
        assert.equal(error.outcome, "unknown");
        return true;
      });
      const controller = new AbortController();
      setTimeout(() => controller.abort(), 30);
      const { signal } = controller;
      await assert.rejects(client.list({}, { signal, timeoutMs: 5000 }), app.AbortedError);
    },
  );
});

test("a token is asked before each attempt", async () => {
  const seen: (string | undefined)[] = [];
  await withServer(
    (request, reply) => {
      seen.push(request.headers.authorization);
      reply.statusCode = seen.length < 2 ? 503 : 200;
      const { statusCode: code } = reply;
      reply.end(JSON.stringify({ code, data: { items: [] }, msg: "not applied: later" }));
    },
    async (url) => {
      let count = 0;
      await new app.AppClient({ url, token: async () => `t${++count}` }).list();
    },
  );
  assert.deepEqual(seen, ["Bearer t1", "Bearer t2"]);
});
