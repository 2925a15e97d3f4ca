-- A repeat may go out under another grant, and another version of the tool, than the first attempt. The entry named the first
-- one's: a revocation of the secret that the repeat really carries, and a stop of changes, did not find the call under way and
-- were said to be in force while it was being sent. And a tool that takes no key any more, but did when the call was opened, was
-- sent the call once more without one.
-- The rest of these functions stays as it is, whichever migration wrote it last; a text that is not found is an error.
DO $$
DECLARE
  change text[];
  body text;
BEGIN
  FOREACH change SLICE 1 IN ARRAY ARRAY[
    ARRAY['admit(jsonb)',
      $t$UPDATE effects SET holder_host = p->>'host', holder_token$t$,
      $t$UPDATE effects SET grant_id = p->>'grantId', tool_version = (p->>'toolVersion')::int, effect_class = p->>'effectClass',
      target = p->>'target', holder_host = p->>'host', holder_token$t$],
    ARRAY['admit(jsonb)',
      $t$IF e.idempotency = 'none' THEN$t$,
      $t$IF e.idempotency = 'none' OR p->>'idempotency' = 'none' THEN$t$],
    ARRAY['write_intent(jsonb,text,text)',
      $t$tool_version = excluded.tool_version, idempotency$t$,
      $t$tool_version = excluded.tool_version, effect_class = excluded.effect_class, idempotency$t$]
  ] LOOP
    body := pg_get_functiondef(change[1]::regprocedure);
    IF array_length(string_to_array(body, change[2]), 1) <> 2 THEN
      RAISE EXCEPTION '% does not hold once: %', change[1], change[2];
    END IF;
    EXECUTE replace(body, change[2], change[3]);
  END LOOP;
END $$;
