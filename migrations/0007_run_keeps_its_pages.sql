-- The table of runs is empty between bursts. A vacuum would then give its pages back, and plans that are made of a table
-- without pages read it from end to end: once for each run of the next burst.

ALTER TABLE run SET (vacuum_truncate = off);
