-- Runs whose node is silent are looked through by every sweep, whichever of them may be given up.
CREATE INDEX run_unknown ON run (unknown_at, id) WHERE state = 'unknown';
