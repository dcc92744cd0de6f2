-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The text as jsonb, or why jsonb cannot hold it: \u0000, lone surrogates, numbers out of range, broken syntax.
CREATE OR REPLACE FUNCTION parse_json(source text, OUT value jsonb, OUT problem text)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  detail text;
BEGIN
  value := source::jsonb;
  -- Beyond the range of a double a number of ten characters can take 130,000 when it is written out.
  IF source ~ '[eE][-+]?[0-9]{2}|[0-9]{200}' AND value @? '$.** ? (@.type() == "number" && (@.abs() > 1.8e308 || (@ != 0 && @.abs() < 4.9e-324)))' THEN
    problem := 'holds a number that is out of the range of a double: write it as a text';
  -- Parsers differ in how deep they go; nobody downstream may be stuck on what was accepted here.
  ELSIF length(source) > 256 AND value @? '$.**{129}' THEN
    problem := 'is nested more than 128 levels deep: flatten it, or write the inner part as a text';
  END IF;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  problem := CASE
    WHEN source ~ '\A\s*\Z' THEN 'is empty: write {} where there is nothing to say'
    -- What the server's own stack and numbers have no room for is beyond the ledger's bounds, and is told in their words.
    WHEN sqlstate = '54001' THEN 'is nested more than 128 levels deep: flatten it, or write the inner part as a text'
    WHEN sqlstate = '22003' THEN 'holds a number that is out of the range of a double, or has thousands of digits: write it as a text'
    ELSE 'is not acceptable JSON: ' || rtrim(left(concat_ws(': ', sqlerrm, nullif(detail, '')), 500), '.')
         -- As Python's json.dumps and others write a float that is none.
         || CASE WHEN source ~ '(^|[:,\s\[])-?(NaN|Infinity)($|[,\s}\]])' THEN '; NaN and Infinity are no JSON: write null in their place' ELSE '' END
  END;
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The text as jsonb, or why jsonb cannot hold it: \u0000, lone surrogates, numbers out of range, broken syntax.
CREATE OR REPLACE FUNCTION parse_json(source text, OUT value jsonb, OUT problem text)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  detail text;
BEGIN
  value := source::jsonb;
  -- Beyond the range of a double a number of ten characters can take 130,000 when it is written out.
  IF source ~ '[eE][-+]?[0-9]{2}|[0-9]{200}' AND value @? '$.** ? (@.type() == "number" && (@.abs() > 1.8e308 || (@ != 0 && @.abs() < 4.9e-324)))' THEN
    problem := 'holds a number that is out of the range of a double: write it as a text';
  -- Parsers differ in how deep they go; nobody downstream may be stuck on what was accepted here.
  ELSIF length(source) > 256 AND value @? '$.**{129}' THEN
    problem := 'is nested more than 128 levels deep: flatten it, or write the inner part as a text';
  END IF;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  problem := CASE
    WHEN source ~ '\A\s*\Z' THEN 'is empty: write {} where there is nothing to say'
    ELSE 'is not acceptable JSON: ' || rtrim(left(concat_ws(': ', sqlerrm, nullif(detail, '')), 500), '.')
         -- As Python's json.dumps and others write a float that is none.
         || CASE WHEN source ~ '(^|[:,\s\[])-?(NaN|Infinity)($|[,\s}\]])' THEN '; NaN and Infinity are no JSON: write null in their place' ELSE '' END
  END;
END
$$;

SELECT hand_over();
