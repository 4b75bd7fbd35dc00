-- A catalog with schema 1, as the server of release 0.1.0 left it; by `sqlite3 catalog.db .dump`.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE starts (number INTEGER NOT NULL) STRICT;
INSERT INTO starts VALUES(1);
CREATE TABLE clients (
    client INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB UNIQUE CHECK (length(id) = 16),
    name TEXT UNIQUE,
    public_key BLOB,
    registered_at INTEGER NOT NULL,     -- ms since 1970, UTC
    folder TEXT NOT NULL,               -- in the view
    folder_key TEXT NOT NULL UNIQUE,    -- the folder as the least discerning file system sees it
    CHECK ((id IS NULL) = (name IS NULL))
) STRICT;
INSERT INTO clients VALUES(1,X'93186751efff4259be5619d73571b69f','demo-825',X'30819d300d06092a864886f70d010101050003818b0030818702818100bda6082521a7b7da0e6161b488cca1ff6fc54b77b173278fe48e067fae16d2bd528c48780616402e23ce7560da2461a3dbd47cc69d7986c44300371a2a97cd20ecc82ada87eb0d9c1db8f69152f18a2e3476dab713d8745a4788252d84da7e7ed62a872c024a8e4c75ff2164570c8d6345f04bd6e5d2b72890fe959a40fbde7d020111',1795451620773,'demo-825','demo-825');
INSERT INTO clients VALUES(2,X'f7be0e5834c94686b06098d39029767e','demo-1100',X'30819d300d06092a864886f70d010101050003818b0030818702818100d2f156d7f8d614eb2d77ec695647c18d0855334dd87e3cafc843e2ae6d5056621a50c5d48dfe580893b46de5c2964dc6e5aa328de1848363fbdf688595512fed55995d6d49a2d5b1c09ab3abf399502fd36ff253506bd75e046ac2c50f8579d8ed9cd262bc0d769de0d97c3cd514b55acfe6430b72840ccde3a2a82240409173020111',1795451620807,'demo-1100','demo-1100');
CREATE TABLE files (
    file INTEGER PRIMARY KEY,
    client INTEGER NOT NULL REFERENCES clients,
    newest INTEGER NOT NULL,            -- version
    name BLOB NOT NULL,                 -- as the client sent it
    path TEXT NOT NULL,                 -- in the view, below the client's folder
    UNIQUE (client, name)
) STRICT;
INSERT INTO files VALUES(1,1,2,X'6c617267652e62696e','large.bin');
INSERT INTO files VALUES(2,1,2,X'736d616c6c2e747874','small.txt');
INSERT INTO files VALUES(3,2,2,X'6c617267652e62696e','large.bin');
INSERT INTO files VALUES(4,2,2,X'736d616c6c2e747874','small.txt');
CREATE TABLE versions (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    file INTEGER NOT NULL REFERENCES files,
    version INTEGER NOT NULL CHECK (version >= 1),
    size INTEGER NOT NULL,              -- bytes
    cksum INTEGER NOT NULL,             -- POSIX
    dialect INTEGER NOT NULL,
    received_at INTEGER NOT NULL,       -- ms since 1970, UTC
    blob INTEGER,
    content BLOB,
    UNIQUE (file, version),
    CHECK ((blob IS NULL) != (content IS NULL))
) STRICT;
INSERT INTO versions VALUES(1,1,1,30000,3092394528,825,1795451620779,1099511627776,NULL);
INSERT INTO versions VALUES(2,2,1,5,3959169343,825,1795451620781,NULL,X'736d616c6c');
INSERT INTO versions VALUES(3,1,2,30000,3092394528,825,1795451620790,1099511627777,NULL);
INSERT INTO versions VALUES(4,2,2,5,3959169343,825,1795451620792,NULL,X'736d616c6c');
INSERT INTO versions VALUES(5,3,1,30000,3092394528,1100,1795451620813,1099511627778,NULL);
INSERT INTO versions VALUES(6,4,1,5,3959169343,1100,1795451620815,NULL,X'736d616c6c');
INSERT INTO versions VALUES(7,3,2,30000,3092394528,1100,1795451620821,1099511627779,NULL);
INSERT INTO versions VALUES(8,4,2,5,3959169343,1100,1795451620822,NULL,X'736d616c6c');
CREATE TABLE view_nodes (
    client INTEGER NOT NULL REFERENCES clients,
    key TEXT NOT NULL,
    spelling TEXT NOT NULL,             -- of the last component
    is_file INTEGER NOT NULL,
    PRIMARY KEY (client, key)
) STRICT, WITHOUT ROWID;
INSERT INTO view_nodes VALUES(1,'large.bin','large.bin',1);
INSERT INTO view_nodes VALUES(1,'small.txt','small.txt',1);
INSERT INTO view_nodes VALUES(2,'large.bin','large.bin',1);
INSERT INTO view_nodes VALUES(2,'small.txt','small.txt',1);
CREATE TABLE doomed (blob INTEGER PRIMARY KEY) STRICT;
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('clients',2);
INSERT INTO sqlite_sequence VALUES('versions',8);
CREATE UNIQUE INDEX versions_by_blob ON versions (blob) WHERE blob IS NOT NULL;
COMMIT;
PRAGMA user_version = 1;
