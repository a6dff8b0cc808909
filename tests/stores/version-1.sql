BEGIN TRANSACTION;
CREATE TABLE ledger (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    body TEXT NOT NULL             -- identity, counters and totals as JSON
);
INSERT INTO "ledger" VALUES(1,'{"boot": 28144801, "boot_id": "boot-a", "seq": 6, "conn": 0, "dropped": 2, "clean": false, "uptime_s": 27.0, "wall": "2026-11-22T18:00:07+00:00", "totals": {"n": 6}}');
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,        -- order of recording
    kind TEXT NOT NULL,            -- state or event
    boot INTEGER NOT NULL,
    uptime_s REAL NOT NULL,
    stamped INTEGER NOT NULL,      -- 1 where the clock was synchronised
    body TEXT NOT NULL             -- the message as JSON
);
INSERT INTO "outbox" VALUES(3,'state',28144801,24.0,0,'{"boot": 28144801, "seq": 3, "text": "\u0457", "ts": null}');
INSERT INTO "outbox" VALUES(4,'state',28144801,25.0,1,'{"boot": 28144801, "seq": 4, "text": "\u0457", "ts": null}');
INSERT INTO "outbox" VALUES(5,'state',28144801,26.0,1,'{"boot": 28144801, "seq": 5, "text": "\u0457", "ts": null}');
INSERT INTO "outbox" VALUES(6,'state',28144801,27.0,1,'{"boot": 28144801, "seq": 6, "text": "\u0457", "ts": null}');
COMMIT;
PRAGMA user_version = 1;
