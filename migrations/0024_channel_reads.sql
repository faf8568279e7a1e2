-- 0024: until when a person has seen a shared channel of the page.
--
-- Reason: a mark at a channel with news lasted only as long as a tab, and differed between devices. A
-- thread's own mark is a column of the conversation, which has one owner; a shared channel has many
-- readers. `thread_reads` holds what processes read of Slack and is dropped after a day.

CREATE TABLE channel_reads (
    platform  TEXT NOT NULL,
    workspace TEXT NOT NULL,
    channel   TEXT NOT NULL,
    person    TEXT NOT NULL,
    read_at   REAL NOT NULL,  -- the time of the newest message or answer that was seen
    PRIMARY KEY (platform, person, workspace, channel)
) STRICT, WITHOUT ROWID;
