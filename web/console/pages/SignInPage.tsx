import { Button, Stack, Text, TextInput, Title } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { useLandingToken } from "../../client/landing";
import { useSendLink, useSignIn } from "../api/session";
import { reasonOf } from "../parts/States";

/**
 * Asks for a link, or, when opened by one, for the click that uses it up: mail
 * scanners open links, so opening alone must not.
 */
export function SignInPage() {
  const [token, forget] = useLandingToken();
  return (
    <main className="door">
      <div className="sheet">{token ? <Landing token={token} renew={forget} /> : <AskForLink />}</div>
    </main>
  );
}

function Landing({ token, renew }: { token: string; renew: () => void }) {
  const signIn = useSignIn();
  const navigate = useNavigate();
  return (
    <Stack>
      <Title order={1}>Fettle console</Title>
      <Text>This link signs you in once, on this device.</Text>
      {signIn.error && (
        <Text c="danger" role="alert" fw={600}>
          {reasonOf(signIn.error)}
        </Text>
      )}
      {signIn.error ? (
        <Button onClick={renew}>Ask for a new link</Button>
      ) : (
        <Button
          loading={signIn.isPending}
          onClick={() => signIn.mutate(token, { onSuccess: () => navigate({ to: "/", replace: true }) })}
        >
          Sign in
        </Button>
      )}
    </Stack>
  );
}

function AskForLink() {
  const [email, setEmail] = useState("");
  const send = useSendLink();

  function submit(e: FormEvent) {
    e.preventDefault();
    send.mutate(email);
  }

  if (send.isSuccess)
    return (
      <Stack role="status">
        <Title order={1}>Look into your mail</Title>
        <Text>If {email} belongs to an operator, a link is on its way. It works once and for 15 minutes.</Text>
        <Button variant="outline" onClick={() => send.reset()}>
          Use another address
        </Button>
      </Stack>
    );

  return (
    <form onSubmit={submit}>
      <Stack>
        <Title order={1}>Fettle console</Title>
        <Text>Operators sign in by a link that is mailed to them.</Text>
        <TextInput
          type="email"
          name="email"
          label="E-mail address"
          required
          autoComplete="email"
          value={email}
          onChange={(e) => setEmail(e.currentTarget.value)}
        />
        {send.error && (
          <Text c="danger" role="alert" fw={600}>
            {reasonOf(send.error)}
          </Text>
        )}
        <Button type="submit" loading={send.isPending}>
          Send me a link
        </Button>
        <Text size="sm" c="dimmed">
          The first operator’s link stands in a file of the server’s data directory; <code>fettle admin reset</code>{" "}
          writes a new one.
        </Text>
      </Stack>
    </form>
  );
}
