-- The seal: a Merkle tree over the log, and the signed checkpoints of it.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The full tiles of the tree, 256 hashes of 32 bytes each. Level 0 has the hashes of events. A full
-- tile never changes.
CREATE TABLE seal_tiles (
  level  smallint NOT NULL,
  number bigint   NOT NULL,
  hashes bytea    NOT NULL,

  CONSTRAINT seal_tiles_pkey                PRIMARY KEY (level, number),
  CONSTRAINT seal_tiles_level               CHECK (level BETWEEN 0 AND 7),
  CONSTRAINT seal_tiles_number_not_negative CHECK (number >= 0),
  CONSTRAINT seal_tiles_full                CHECK (octet_length(hashes) = 8192)
);
-- Hashes cannot be compressed.
ALTER TABLE seal_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- What was signed, as signed notes. A key that was replaced may come back at a size that it has
-- signed before. Then that size has two checkpoints, and the one sealed last counts.
CREATE TABLE seal_checkpoints (
  size      bigint      NOT NULL,  -- it covers the events up to this position
  signer    text        NOT NULL,  -- the key's name and id
  note      text        NOT NULL,
  sealed_at timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT seal_checkpoints_pkey          PRIMARY KEY (size, sealed_at),
  CONSTRAINT seal_checkpoints_size_positive CHECK (size > 0)
);

CREATE TRIGGER seal_tiles_only_grow
  BEFORE UPDATE OR DELETE OR TRUNCATE ON seal_tiles
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_record();
CREATE TRIGGER seal_checkpoints_only_grow
  BEFORE UPDATE OR DELETE OR TRUNCATE ON seal_checkpoints
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE seal_tiles ENABLE ALWAYS TRIGGER seal_tiles_only_grow;
ALTER TABLE seal_checkpoints ENABLE ALWAYS TRIGGER seal_checkpoints_only_grow;

-- Where the sealer stands, in one row.
CREATE TABLE seal (
  only_one   boolean     NOT NULL DEFAULT true,
  size       bigint      NOT NULL DEFAULT 0,
  edge       bytea       NOT NULL DEFAULT '',  -- the hashes of the tiles that are not full, from level 0 on
  stopped    text,                             -- why the sealer does not go on
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT seal_pkey              PRIMARY KEY (only_one),
  CONSTRAINT seal_only_one          CHECK (only_one),
  CONSTRAINT seal_size_not_negative CHECK (size >= 0)
);
INSERT INTO seal DEFAULT VALUES;

-- Lets the tree grow, and keeps the checkpoint of it: both or neither. Returns false where the tree
-- is not what the sealer believes, or the ledger has another epoch: another sealer has moved it.
-- With the owner's rights, so that a sealer has none to the tables.
CREATE FUNCTION add_to_seal(
  of_epoch uuid, from_size bigint, to_size bigint, new_edge bytea, tile_levels integer[], tile_numbers bigint[],
    tile_hashes bytea[], signed_by text, signed_note text
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF to_size > head() THEN
    RAISE EXCEPTION 'position % is not there yet: the log ends at %', to_size, head()
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  UPDATE seal SET size = to_size, edge = new_edge, stopped = null, updated_at = clock_timestamp()
   WHERE size = from_size AND to_size >= from_size AND EXISTS (SELECT FROM ledger WHERE epoch = of_epoch);
  IF NOT found THEN
    RETURN false;
  END IF;
  INSERT INTO seal_tiles (level, number, hashes)
  SELECT level, number, hashes FROM unnest(tile_levels, tile_numbers, tile_hashes) AS tile (level, number, hashes);
  INSERT INTO seal_checkpoints (size, signer, note, sealed_at)
  SELECT to_size, signed_by, signed_note, greatest(clock_timestamp(), max(sealed_at) + interval '1 microsecond')
    FROM seal_checkpoints WHERE size = to_size;
  RETURN true;
END
$$;

-- Records why the sealer does not go on; null when it does.
CREATE FUNCTION stop_seal(reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  UPDATE seal SET stopped = reason, updated_at = clock_timestamp() WHERE stopped IS DISTINCT FROM reason;
END;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
BEGIN
  IF EXISTS (SELECT FROM seal_checkpoints) THEN
    RAISE EXCEPTION 'there are % signed checkpoints: dropping them would lose the proof of what the log was',
                    (SELECT count(*) FROM seal_checkpoints)
      USING HINT = 'Drop the tables seal_checkpoints and seal_tiles by hand if that is what you want.';
  END IF;
END
$$;
DROP FUNCTION stop_seal(text);
DROP FUNCTION add_to_seal(uuid, bigint, bigint, bytea, integer[], bigint[], bytea[], text, text);
DROP TABLE seal, seal_checkpoints, seal_tiles;
