import { Button, Stack, Text, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { needsProof, useProve } from "../api/account";
import { Dialog } from "./Dialog";
import { reasonOf } from "./States";

/** A field for the code of an authenticator, or a recovery code. */
export function CodeField({ value, set, label = "Code" }: { value: string; set: (v: string) => void; label?: string }) {
  return (
    <TextInput
      label={label}
      description="Six digits of your authenticator, or a recovery code"
      required
      name="code"
      autoComplete="one-time-code"
      inputMode="text"
      value={value}
      onChange={(e) => set(e.currentTarget.value)}
    />
  );
}

/** What a form could not do. */
export function Refused({ error }: { error: unknown }) {
  return error ? (
    <Text c="danger" role="alert" fw={600}>
      {reasonOf(error)}
    </Text>
  ) : null;
}

/**
 * Asks for the second factor again where the server wants it just shown, and
 * then does once more what was refused.
 */
export function Prove({ error, again, forget }: { error: unknown; again: () => void; forget: () => void }) {
  const [code, setCode] = useState("");
  const prove = useProve();
  function submit(e: FormEvent) {
    e.preventDefault();
    prove.mutate(code, {
      onSuccess: () => {
        setCode("");
        again();
      },
    });
  }
  return (
    <Dialog open={needsProof(error)} close={forget} title="Is it you?">
      <form onSubmit={submit}>
        <Stack>
          <Text>
            This is dangerous in the wrong hands. Give a code of your authenticator; without one, sign out and in again.
          </Text>
          <CodeField value={code} set={setCode} />
          <Refused error={prove.error} />
          <Button type="submit" loading={prove.isPending}>
            Go on
          </Button>
        </Stack>
      </form>
    </Dialog>
  );
}
