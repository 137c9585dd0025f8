-- run.pinned   the node that alone may have it: of a task with `node: every` each run is for one node. Empty: any node.
--              Places of such a task are places on a node.

ALTER TABLE run ADD COLUMN pinned text NOT NULL DEFAULT '';

DROP INDEX run_slot;
CREATE UNIQUE INDEX run_slot ON run (task_id, pinned, slot) WHERE slot IS NOT NULL;
