// Servers that are none, that are slow, that end, and TLS.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createHttp } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createServer as createTls } from "node:tls";
import { setTimeout as sleep } from "node:timers/promises";

import { ChatshardError, connect, UnauthenticatedError } from "../src/index.js";
import { Fake, frame, freePort, helloBody, withClient } from "./help.js";

let directory: string;
let cert: Buffer;
let key: Buffer;

before(() => {
  directory = mkdtempSync(join(tmpdir(), "chatshard-ts-tls-"));
  const files = ["-keyout", join(directory, "key"), "-out", join(directory, "cert")];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
  const kind = [...curve, "-nodes", "-days", "2"];
  const names = ["-subj", "/CN=chat.example", "-addext", "subjectAltName=DNS:chat.example"];
  execFileSync("openssl", ["req", "-x509", ...kind, ...files, ...names], { stdio: "ignore" });
  cert = readFileSync(join(directory, "cert"));
  key = readFileSync(join(directory, "key"));
});

after(() => rmSync(directory, { recursive: true, force: true }));

/** What connecting to the server gives, which must come in time. */
async function failure(server: Server, options: object = {}): Promise<string> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  });
  server.on("tlsClientError", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const began = performance.now();
  try {
    const addresses = `127.0.0.1:${port}`;
    const client = await connect({ addresses, connectTimeoutMs: 300, ...options });
    await client.close();
    return "";
  } catch (error) {
    assert.ok(error instanceof ChatshardError, String(error));
    assert.equal(error.outcome === "unknown", false);
    assert.ok(performance.now() - began < 2000);
    return error.message;
  } finally {
    server.close();
    for (const socket of sockets) socket.destroy();
  }
}

const says = (bytes: Buffer | string) => createServer((socket) => void socket.write(bytes));

test("nobody listens", async () => {
  const addresses = `127.0.0.1:${await freePort()}`;
  await assert.rejects(connect({ addresses }), /ECONNREFUSED/);
});

test("an HTTP server", async () => {
  assert.match(await failure(createHttp((_, reply) => void reply.end("hello"))), /HTTP server/);
});

test("a server with TLS, and a client without", async () => {
  const server = createTls({ cert, key });
  assert.match(await failure(server), /speaks TLS|ended the connection/);
});

test("a client with TLS, and a server without", async () => {
  const fake = new Fake(() => undefined);
  assert.match(await failure(fake.server, { tls: true }), /no TLS|ended|did not reply/);
  assert.match(await failure(says("hello, who are you?"), { tls: true }), /no TLS/);
  const alert = Buffer.from("15030300020228", "hex"); // what a server of chatshard sends
  assert.match(await failure(says(alert), { tls: true }), /no TLS/);
});

test("garbage", async () => {
  assert.match(await failure(says(Buffer.alloc(64, 0xff))), /not a chatshard server/);
  assert.match(await failure(says(Buffer.alloc(64, 0))), /not a chatshard server/);
  assert.match(await failure(says(Buffer.from("00000002c1c1", "hex"))), /not an array/);
});

test("a reply that is no hello", async () => {
  assert.match(await failure(says(frame(1, 200, ["x"]))), /not a reply of this protocol/);
  assert.match(await failure(says(frame(1, 200, null))), /not a reply of this protocol/);
  assert.match(await failure(says(frame(7, 200, helloBody()))), /a reply to no request/);
});

test("silence", async () => {
  const silent = await failure(createServer(() => undefined));
  assert.match(silent, /accepts connections, but did not reply in 300 ms/);
});

test("a byte now and then", async () => {
  const slow = createServer((socket) => {
    const timer = setInterval(() => socket.write(Buffer.from([0])), 50);
    socket.on("close", () => clearInterval(timer));
  });
  assert.match(await failure(slow), /did not reply in 300 ms|not a chatshard server/);
});

test("an end before hello", async () => {
  assert.match(await failure(createServer((socket) => void socket.end())), /before hello/);
});

test("a server with no place, or that knows no such token", async () => {
  const busy = frame(0, 429, ["busy", "too many connections; try again later"]);
  assert.match(await failure(says(busy)), /too many connections/);
  const unknown = new Fake(
    () => undefined,
    (id) => frame(id, 401, ["unauthenticated", "hello: the token is missing or wrong"]),
  );
  await unknown.listen();
  await assert.rejects(connect({ addresses: unknown.address }), UnauthenticatedError);
  unknown.close();
});

test("a hello byte by byte is as good as any", async () => {
  const server = createServer((socket) => {
    socket.once("data", async () => {
      for (const byte of frame(1, 200, helloBody())) {
        socket.write(Buffer.from([byte]));
        await sleep(0);
      }
    });
  });
  assert.equal(await failure(server, { connectTimeoutMs: 5000 }), "");
});

test("a reply over the limit, of a wrong type, or to no request ends the connection", async () => {
  const replies = {
    "a frame of 268435455 bytes": () => Buffer.from("0fffffff", "hex"),
    "first byte is 0x80": (id: number) => Buffer.from([0, 0, 0, 4, 0x93, id, 0x80, 0xc0]),
    "not an array": (id: number) => frame(id, 200, "text"),
    "nest too deep": (id: number) => frame(id, 200, [[], null, deep()]),
    "a reply to no request": (id: number) => frame(id + 1, 200, [[], null]),
    "not a string": (id: number) => frame(id, 404, [1, 2]),
    "there are bytes behind": (id: number) => {
      const whole = Buffer.concat([frame(id, 200, [[], null]), Buffer.from([0])]);
      whole.writeUInt32BE(whole.length - 4, 0);
      return whole;
    },
  };
  for (const [expected, reply] of Object.entries(replies)) {
    let said = "";
    const fake = await new Fake((_, id, socket) => {
      socket.write(reply(id));
      return undefined;
    }).listen();
    const hooks = {
      onDisconnect: ({ error }: { error: Error }) => {
        said = error.message;
      },
    };
    await withClient({ addresses: fake.address, hooks, callTimeoutMs: 150 }, async (client) => {
      const began = performance.now();
      await client.list({ userId: "u" }).catch((error: unknown) => {
        assert.ok(error instanceof ChatshardError);
        assert.equal(error.outcome, "notApplied");
      });
      assert.ok(performance.now() - began < 1000);
    });
    assert.match(said, new RegExp(expected), expected);
    fake.close();
  }
});

function deep(): unknown {
  let value: unknown = null;
  for (let i = 0; i < 100; i++) value = [value];
  return value;
}

test("a long reply in pieces is put together without copying it again and again", async () => {
  const row = ["c".repeat(100), 0, 0, 1, 0, 0, 0];
  const rows = Array.from({ length: 50_000 }, () => row);
  const fake = await new Fake(() => [200, [rows, null]]).listen();
  await withClient({ addresses: fake.address }, async (client) => {
    const { items } = await client.list({ userId: "u" });
    assert.equal(items.length, 50_000);
  });
  fake.close();
});

test("TLS with an authority of one's own, and the name of the certificate", async () => {
  const server = () => {
    const made = createTls({ cert, key }, (socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => socket.write(frame(1, 200, helloBody())));
    });
    return made as unknown as Server;
  };
  const name = { serverName: "chat.example" };
  assert.equal(await failure(server(), { tls: { ca: cert, ...name } }), "");
  assert.match(await failure(server(), { tls: { ca: cert } }), /altnames|Altname|IP/);
  assert.match(await failure(server(), { tls: { ...name } }), /self.signed/);
  assert.match(await failure(server(), { tls: true }), /self.signed/);
});
