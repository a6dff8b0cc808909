BEGIN TRANSACTION;
CREATE TABLE answers (
            cid TEXT PRIMARY KEY,       -- of a command that was carried out; oldest: least rowid
            body TEXT NOT NULL,         -- the answer as JSON
            crc INTEGER NOT NULL
        );
INSERT INTO "answers" VALUES('a1','{"asked": "x", "answer": "{}"}',3860128204);
CREATE TABLE boots (
            boot INTEGER PRIMARY KEY,
            began TEXT NOT NULL,        -- the time of day at uptime 0, ISO in UTC
            crc INTEGER NOT NULL
        );
INSERT INTO "boots" VALUES(28144801,'2026-11-22T17:59:40+00:00',1081293692);
CREATE TABLE days (
            date TEXT PRIMARY KEY,      -- of the tent's own calendar
            body TEXT NOT NULL,         -- the visitor log of a closed day as JSON
            crc INTEGER NOT NULL
        );
INSERT INTO "days" VALUES('2026-11-21','{"date": "2026-11-21", "entered": 3}',3864441921);
CREATE TABLE ledger (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            body TEXT NOT NULL          -- identity, counters and totals as JSON
        , crc INTEGER);
INSERT INTO "ledger" VALUES(1,'{"count": 4, "boot": 28144801, "boot_id": "boot-a", "seq": 8, "conn": 0, "dropped": 2, "rows": 6, "size": 434, "clean": false, "cut": null, "set_aside": [], "uptime_s": 24.0, "wall": "2026-11-22T18:00:04+00:00", "totals": {"n": 7}, "schema": 2, "stand_in": null, "serial": "3ac9304da0d3f18f", "traced": false}',2650391744);
CREATE TABLE outbox (
            id INTEGER PRIMARY KEY,     -- order of recording
            kind TEXT NOT NULL,         -- state or event
            boot INTEGER NOT NULL,
            uptime_s REAL NOT NULL,
            stamped INTEGER NOT NULL,   -- 1 where the clock was synchronised
            body TEXT NOT NULL          -- the message as JSON
        , crc INTEGER);
INSERT INTO "outbox" VALUES(3,'event',28144801,22.0,1,'{"boot": 28144801, "seq": 3, "ts": "2026-11-22T18:00:02.000Z", "pad": ""}',326626218);
INSERT INTO "outbox" VALUES(4,'state',28144801,22.0,1,'{"boot": 28144801, "seq": 4, "ts": "2026-11-22T18:00:02.000Z", "pad": ""}',1181189393);
INSERT INTO "outbox" VALUES(5,'event',28144801,23.0,1,'{"boot": 28144801, "seq": 5, "event": "day_closed", "text": "\u0457"}',3972518292);
INSERT INTO "outbox" VALUES(6,'event',28144801,24.0,1,'{"boot": 28144801, "seq": 6, "ts": "2026-11-22T18:00:04.000Z", "pad": ""}',2184430266);
INSERT INTO "outbox" VALUES(7,'event',28144801,24.0,1,'{"boot": 28144801, "seq": 7, "ts": "2026-11-22T18:00:04.000Z", "pad": ""}',2667539662);
INSERT INTO "outbox" VALUES(8,'state',28144801,24.0,1,'{"boot": 28144801, "seq": 8, "ts": "2026-11-22T18:00:04.000Z", "pad": ""}',764047829);
COMMIT;
PRAGMA user_version = 2;
