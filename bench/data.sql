-- Rows as an application has them, for measuring: accounts with password hashes and JSON, events with random keys and addresses, messages
-- of words drawn as natural text draws them (few often, many seldom), with the keys and indexes of such tables. :events rows of events; the
-- other tables follow.
SET synchronous_commit = off;
SELECT setseed(0.5) \g /dev/null
CREATE SCHEMA bench;
CREATE TABLE bench.words AS
  SELECT n, substr(translate(md5(n::text), '0123456789', 'aeiourstln'), 1, 2 + (n * 7 % 9)::int) AS word FROM generate_series(0, 4999) AS n;
CREATE TABLE bench.accounts AS
  SELECT gen_random_uuid() AS id, 'user' || n || '@' || substr(md5(n::text), 1, 6) || '.example' AS email,
    '$2a$10$' || translate(encode(sha256(random()::text::bytea), 'base64'), '+=', './') || substr(md5(random()::text), 1, 9) AS encrypted_password,
    now() - random() * interval '900 days' AS created_at,
    jsonb_build_object('name', 'Person ' || n, 'avatar', 'https://cdn.example/' || gen_random_uuid() || '.png', 'logins', (random() * 500)::int) AS metadata
  FROM generate_series(1, :events / 10) AS n;
CREATE TABLE bench.events AS
  SELECT n AS id, gen_random_uuid() AS session, now() - random() * interval '900 days' AS at,
    ('10.' || (random() * 255)::int || '.' || (random() * 255)::int || '.' || (random() * 255)::int)::inet AS address,
    (ARRAY['page_view', 'click', 'login', 'logout', 'purchase', 'search'])[1 + (random() * 5)::int] AS kind,
    (random() * 100000)::numeric(10, 2) AS amount, md5(random()::text) AS token,
    jsonb_build_object('path', '/items/' || (random() * 1000000)::int, 'ms', (random() * 3000)::int, 'ref', gen_random_uuid()) AS payload
  FROM generate_series(1, :events) AS n;
CREATE TABLE bench.messages AS
  WITH dictionary AS MATERIALIZED (SELECT array_agg(word ORDER BY n) AS words FROM bench.words)
  SELECT m AS id, gen_random_uuid() AS author,
    -- The 0 * i makes the aggregate the subquery's own.
    (SELECT string_agg(words[1 + (4999 * power(random(), 3))::int + 0 * i], ' ') FROM generate_series(1, 30 + m % 40) AS i) AS body
  FROM generate_series(1, :events / 4) AS m, dictionary;
ALTER TABLE bench.words ADD PRIMARY KEY (n);
ALTER TABLE bench.accounts ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX accounts_email ON bench.accounts (lower(email));
ALTER TABLE bench.events ADD PRIMARY KEY (id);
CREATE INDEX events_at ON bench.events (at);
CREATE INDEX events_session ON bench.events (session);
CREATE INDEX events_kind_at ON bench.events (kind, at DESC);
CREATE INDEX events_purchases ON bench.events (at) WHERE kind = 'purchase';
ALTER TABLE bench.messages ADD PRIMARY KEY (id);
CREATE INDEX messages_author ON bench.messages (author);
