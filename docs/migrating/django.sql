-- As Django 5.2 and Django REST framework 3.18 make them in SQLite; "api_key" is the model of docs/guide/src/migrating.md.
CREATE TABLE "auth_user" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "password" varchar(128) NOT NULL, "last_login" datetime NULL,
    "is_superuser" bool NOT NULL, "username" varchar(150) NOT NULL UNIQUE, "last_name" varchar(150) NOT NULL, "email" varchar(254) NOT NULL,
    "is_staff" bool NOT NULL, "is_active" bool NOT NULL, "date_joined" datetime NOT NULL, "first_name" varchar(150) NOT NULL);
CREATE TABLE "authtoken_token" ("key" varchar(40) NOT NULL PRIMARY KEY, "created" datetime NOT NULL,
    "user_id" integer NOT NULL UNIQUE REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "api_key" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "key_sha256" BLOB NOT NULL UNIQUE, "created" datetime NOT NULL,
    "user_id" integer NOT NULL UNIQUE REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED);
-- A user with a token.
insert into auth_user values (7, '', null, 0, 'alice', '', '', 0, 1, '2026-11-22 03:58:56', '');
insert into authtoken_token values ('8834d1f96ad293acf1d9452d4c9666c21901a115', '2026-11-22 03:58:56', 7);
