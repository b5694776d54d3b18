-- As Active Record makes them in SQLite, of users and their API tokens with has_secure_token.
CREATE TABLE "users" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "created_at" datetime(6) NOT NULL, "updated_at" datetime(6) NOT NULL);
CREATE TABLE "api_tokens" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "user_id" integer NOT NULL, "token" varchar NOT NULL,
    "created_at" datetime(6) NOT NULL, "updated_at" datetime(6) NOT NULL, CONSTRAINT "fk_rails_f16b5e0447"
    FOREIGN KEY ("user_id") REFERENCES "users" ("id"));
CREATE UNIQUE INDEX "index_api_tokens_on_token" ON "api_tokens" ("token");
-- Step 1.
ALTER TABLE "api_tokens" ADD "token_digest" varchar;
CREATE UNIQUE INDEX "index_api_tokens_on_token_digest" ON "api_tokens" ("token_digest");
-- A user with a token.
insert into users values (7, '2026-11-22 04:03:08', '2026-11-22 04:03:08');
insert into api_tokens values (1, 7, 'pX27zsMN2ViQKta1bGfLmVJE', '2026-11-22 04:03:08', '2026-11-22 04:03:08', null);
