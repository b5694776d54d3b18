// The life of a key, by a client whose types a generator made from the OpenAPI document.
//
//     URL=http://127.0.0.1:3000 KEY=... node lifecycle.js
//
// `schema.d.ts` is generated as the page "Clients in other languages" of the guide says. `.ci/run sdk` runs
// `tsc --strict` over this program and the schema, and then this program. It prints one line for each step.

import { deepStrictEqual as equal, ok } from "node:assert";
import { createHash, randomBytes } from "node:crypto";
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
type Keys = Client<paths>;
type Answer<T> = { data?: T; error?: Schemas["Problem"]; response: Response };

const { URL: url = "", KEY: admin_key = "" } = process.env;

function clientOf(key: string): Keys {
  return createClient<paths>({ baseUrl: url, headers: { "X-API-Key": key } });
}

/** The body of a response with this status. It is no problem. */
function body<T>({ data, error, response }: Answer<T>, status: number): T {
  equal([response.status, error], [status, undefined]);
  ok(data !== undefined);
  return data;
}

/** The problem of a response with this status. */
function problem({ error, response }: Answer<unknown>, status: number): Schemas["Problem"] {
  ok(error);
  equal([response.status, error.status], [status, status]);
  equal(response.headers.get("content-type"), "application/problem+json");
  return error;
}

/** A request with the key to the service itself. */
async function stats(key: string): Promise<number> {
  const response = await fetch(`${url}/api/stats`, { headers: { Authorization: `Bearer ${key}` } });
  return response.status;
}

function bot(name: string, permissions: Record<string, string[]> = {}): Schemas["CreateKey"] {
  return { type: "bot", name, permissions };
}

async function issueAndUse(keys: Keys, mark: string): Promise<Schemas["IssuedKey"]> {
  const expires_at = new Date(Date.now() + 30 * 24 * 3600 * 1000).toISOString();
  const wanted = {
    ...bot(`${mark} reports`, { stats: ["read"], apiKeys: ["read"] }),
    metadata: { ticket: "OPS-17" },
    expires_at,
  };
  const once = { params: { header: { "Idempotency-Key": randomBytes(8).toString("hex") } }, body: wanted };
  const issued = body(await keys.POST("/api/keys", once), 201);
  equal([issued.type, issued.owner, issued.status, issued.environment], ["bot", "Bot", "active", null]);
  equal([issued.permissions, issued.metadata], [wanted.permissions, wanted.metadata]);
  equal(new Date(issued.expires_at ?? 0), new Date(expires_at));
  equal(problem(await keys.POST("/api/keys", once), 409).key_id, issued.id);
  equal(await stats(issued.key), 200);
  return issued;
}

async function listAndShow(keys: Keys, mark: string, issued: Schemas["IssuedKey"]): Promise<void> {
  for (const name of ["second", "third"]) body(await keys.POST("/api/keys", { body: bot(`${mark} ${name}`) }), 201);
  const page = async (cursor?: string) => {
    const query = { name_prefix: mark, limit: 2, ...(cursor === undefined ? {} : { cursor }) };
    return body(await keys.GET("/api/keys", { params: { query } }), 200);
  };
  const first = await page();
  equal(first.keys.map((key) => key.name), [`${mark} third`, `${mark} second`]);
  ok(first.next !== null);
  const last = await page(first.next);
  equal([last.keys.map((key) => key.id), last.next], [[issued.id], null]);
  const shown = body(await keys.GET("/api/keys/{id}", { params: { path: { id: issued.id } } }), 200);
  equal([shown.mask?.slice(-4), shown.created_by?.type, "key" in shown], [issued.key.slice(-4), "key", false]);
  const own = body(await clientOf(issued.key).GET("/api/keys/self"), 200);
  equal([own.id, own.organization], [issued.id, "acme"]);
}

async function edit(keys: Keys, issued: Schemas["IssuedKey"]): Promise<void> {
  const change = (body: Schemas["EditKey"], header: { "If-Match"?: string } = {}) =>
    keys.PATCH("/api/keys/{id}", { params: { path: { id: issued.id }, header }, body });
  const old = { "If-Match": `"${issued.version}"` };
  const disabled = body(await change({ status: "disabled", reason: "maintenance" }, old), 200);
  equal([disabled.status, disabled.version, await stats(issued.key)], ["disabled", issued.version + 1, 401]);
  equal(problem(await change({ status: "active" }, old), 412).title, "Precondition Failed");
  const enabled = body(await change({ status: "active", expires_at: null, metadata: null }), 200);
  equal([enabled.status, enabled.expires_at, enabled.metadata], ["active", null, {}]);
}

async function rotate(keys: Keys, issued: Schemas["IssuedKey"]): Promise<Schemas["IssuedKey"]> {
  const at = (id: string) => ({ params: { path: { id } } });
  const next = body(await keys.POST("/api/keys/{id}/rotate", { ...at(issued.id), body: { grace_seconds: 3600 } }), 201);
  equal([next.replaces, next.lineage], [issued.id, issued.id]);
  equal([await stats(issued.key), await stats(next.key)], [200, 200]);
  const newest = body(await keys.POST("/api/keys/{id}/regenerate", at(next.id)), 201);
  equal([await stats(next.key), await stats(newest.key)], [401, 200]);
  return newest;
}

async function eventsAndUsage(keys: Keys, issued: Schemas["IssuedKey"]): Promise<void> {
  const path = { id: issued.id };
  const { events } = body(await keys.GET("/api/keys/{id}/events", { params: { path } }), 200);
  const kinds: Schemas["EventKind"][] = ["revoked", "rotated", "enabled", "disabled", "issued"];
  equal(events.map((event) => event.kind), kinds);
  const disabled = events[3];
  equal([disabled?.author.type, disabled?.reason, disabled?.leak], ["key", "maintenance", null]);
  equal([disabled?.before["status"], disabled?.after["status"]], ["active", "disabled"]);
  const one = { params: { query: { kind: "rotated", limit: 1 } } } as const;
  equal(body(await keys.GET("/api/keys/events", one), 200).events.map((event) => event.key_id), [issued.id]);
  // The service writes usage once a second.
  for (let attempt = 0; ; attempt++) {
    const { days, total, limits } = body(await keys.GET("/api/keys/{id}/usage", { params: { path } }), 200);
    if (total.accepted + total.rejected < 4 && attempt < 100) {
      await new Promise((done) => setTimeout(done, 100));
      continue;
    }
    equal([days.length, total], [30, { accepted: 3, rejected: 1, forbidden: 0, limited: 0 }]);
    equal(limits?.map((limit) => [limit.name, limit.subject])[1], ["daily", "key"]);
    return;
  }
}

async function problems(keys: Keys, issued: Schemas["IssuedKey"]): Promise<void> {
  const create = (client: Keys, body: Schemas["CreateKey"]) => client.POST("/api/keys", { body });
  const unknown = problem(await clientOf("acme_unknown").GET("/api/keys"), 401);
  equal([unknown.title, unknown.code], ["Invalid API key", "invalid_key"]);
  equal(problem(await create(clientOf(issued.key), bot("x")), 403).title, "Forbidden");
  ok(problem(await create(keys, bot("x", { billing: ["read"] })), 403).detail.includes("billing"));
  const invalid = problem(await create(keys, bot(" x")), 422);
  equal([invalid.type, invalid.code, invalid.detail.includes("name")], ["about:blank", undefined, true]);
  const query = { sort: "name", cursor: "no cursor" } as const;
  ok(problem(await keys.GET("/api/keys", { params: { query } }), 400).detail.includes("cursor"));
  equal(problem(await keys.GET("/api/keys/{id}", { params: { path: { id: "key_none" } } }), 404).title, "Not Found");
}

async function many(keys: Keys, mark: string): Promise<void> {
  const text = `old-${randomBytes(16).toString("hex")}`;
  const digest = createHash("sha256").update(text).digest("hex");
  const wrong = { type: "bot", name: `${mark} wrong`, digest, key: text } as const;
  const imported = { type: "bot", name: `${mark} imported`, digest } as const;
  const done = body(await keys.POST("/api/keys/import", { body: { keys: [imported, wrong] } }), 200);
  equal([done.imported, done.results.map((result) => result.status)], [1, [201, 422]]);
  equal([typeof done.results[1]?.detail, done.results[1]?.id], ["string", undefined]);
  const filter = { name_prefix: mark };
  const request = { body: { filter, grace_seconds: 60 }, parseAs: "text" } as const;
  const lines = body(await keys.POST("/api/keys/rotate", request), 200).trimEnd().split("\n");
  const replaced = lines.map((line) => JSON.parse(line) as Schemas["IssuedKey"] | Schemas["NotReplaced"]);
  const first = replaced.find((line) => "key" in line);
  ok(first && [200, 403].includes(await stats(first.key)));
  const dry_run = { body: { change: "revoke", filter, dry_run: true } } as const;
  const counted = body(await keys.POST("/api/keys/bulk", dry_run), 200);
  ok(counted.matched >= replaced.length && counted.changed === 0);
}

async function revoke(keys: Keys, newest: Schemas["IssuedKey"]): Promise<void> {
  const request = { params: { path: { id: newest.id }, query: { reason: "end of the test" } } };
  const gone = body(await keys.DELETE("/api/keys/{id}", request), 200);
  equal([gone.status, gone.reason, gone.revoked_by?.type], ["revoked", "end of the test", "key"]);
  equal(await stats(newest.key), 401);
  const other = body(await keys.POST("/api/keys", { body: bot("logs out") }), 201);
  equal((await clientOf(other.key).DELETE("/api/keys/self")).response.status, 204);
}

const keys = clientOf(admin_key);
const mark = randomBytes(4).toString("hex");
const issued = await issueAndUse(keys, mark);
console.log("a key is issued once, and used");
await listAndShow(keys, mark, issued);
console.log("keys are listed with a filter and a cursor, and shown");
await edit(keys, issued);
console.log("a key is edited, at one version only");
const newest = await rotate(keys, issued);
console.log("a key is rotated with a grace period, and regenerated");
await eventsAndUsage(keys, issued);
console.log("its events and its usage are read");
await problems(keys, newest);
console.log("400, 401, 403, 404 and 422 are problems");
await many(keys, mark);
console.log("keys are imported, replaced and counted");
await revoke(keys, newest);
console.log("a key is revoked, by the administrator and by its holder");
