-- run.meant_for   the node that a claim chose for a pending run, if another replica has that node: who has it claims the
--                 run, and others leave it alone until meant_until.

ALTER TABLE run ADD COLUMN meant_for text, ADD COLUMN meant_until timestamptz;
