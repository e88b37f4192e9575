import { Anchor, Button, Divider, PasswordInput, Stack, Text, TextInput, Title } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, type ReactNode, useEffect, useRef, useState } from "react";
import type { Wire } from "../../client/client";
import { useLandingToken } from "../../client/landing";
import { gaveUp, passkeysWork } from "../../client/passkeys";
import { Problem } from "../../client/problem";
import { useCode, useFirstEnrolled, useFirstEnrolment, usePasskeySignIn, usePassword, useWays } from "../api/account";
import { useSendLink, useSignIn } from "../api/session";
import { Authenticator, RecoveryCodes } from "../parts/Authenticator";
import { useArrival } from "../parts/Page";
import { CodeField, Refused } from "../parts/Prove";
import { Loading, Trouble } from "../parts/States";

/** The ways in that this server has, or the click that uses a link up. */
export function SignInPage() {
  const [token, forget] = useLandingToken();
  const door = useArrival<HTMLElement>();
  return (
    <main className="door" ref={door} tabIndex={-1}>
      <div className="sheet">{token ? <Landing token={token} renew={forget} /> : <Ways />}</div>
    </main>
  );
}

/** When another step comes, the focus goes to its first field or its title, or stays before what is yet to come. */
function Step({ name, children }: { name: string; children: ReactNode }) {
  const place = useRef<HTMLDivElement>(null);
  const shown = useRef(name);
  useEffect(() => {
    if (shown.current === name) return;
    shown.current = name;
    const within = (what: string) => place.current?.querySelector<HTMLElement>(what);
    (within("input") ?? within("h1") ?? place.current)?.focus();
  }, [name]);
  return (
    <div className="step" ref={place} tabIndex={-1}>
      {children}
    </div>
  );
}

function useEnter() {
  const navigate = useNavigate();
  return () => navigate({ to: "/", replace: true });
}

const asksForCode = (e: unknown) => e instanceof Problem && e.errors.some((f) => f.location === "body.code");

/** Mail scanners open links, so opening alone must not use one up. */
function Landing({ token, renew }: { token: string; renew: () => void }) {
  const signIn = useSignIn();
  const enter = useEnter();
  const [code, setCode] = useState("");
  const [asked, setAsked] = useState(false);
  function submit(e: FormEvent) {
    e.preventDefault();
    signIn.mutate(
      { token, code: code || undefined },
      { onSuccess: enter, onError: (e) => asksForCode(e) && setAsked(true) },
    );
  }
  const over = signIn.error && !asksForCode(signIn.error);
  return (
    <form onSubmit={submit}>
      <Stack>
        <Title order={1}>Fettle console</Title>
        <Text>This link signs you in once, on this device.</Text>
        {asked && <CodeField value={code} set={setCode} />}
        {(over || (asked && code !== "")) && <Refused error={signIn.error} />}
        {over ? (
          <Button onClick={renew}>Sign in another way</Button>
        ) : (
          <Button type="submit" loading={signIn.isPending}>
            Sign in
          </Button>
        )}
      </Stack>
    </form>
  );
}

function Ways() {
  const ways = useWays();
  const [owed, setOwed] = useState<{ ticket: string; next: string } | null>(null);
  const [byMail, setByMail] = useState(false);
  if (ways.isPending) return <Loading what="the ways to sign in" lines={3} />;
  if (ways.error) return <Trouble what="Asking how to sign in" error={ways.error} retry={() => ways.refetch()} />;
  const again = () => setOwed(null);
  const step = owed && owed.next !== "passkey" ? owed.next : byMail ? "mail" : "ways";
  return (
    <Step name={step}>
      {owed && step === "enrol" && <FirstTime ticket={owed.ticket} again={again} />}
      {owed && step === "code" && <SecondFactor ticket={owed.ticket} again={again} />}
      {step === "mail" && <AskForLink back={() => setByMail(false)} />}
      {step === "ways" && (
        <First ways={ways.data} owe={setOwed} passkey={owed?.next === "passkey"} byMail={() => setByMail(true)} />
      )}
    </Step>
  );
}

type FirstProps = { ways: Wire["Ways"]; owe: Owe; passkey: boolean; byMail: () => void };

function First({ ways, owe, passkey, byMail }: FirstProps) {
  const elsewhere = (passkeysWork() && ways.passkey) || ways.providers.length > 0 || ways.mail;
  return (
    <Stack>
      <Title order={1}>Fettle console</Title>
      <ByPassword owe={owe} passkey={passkey} />
      {elsewhere && <Divider label="or" />}
      {passkeysWork() && ways.passkey && <ByPasskey />}
      {ways.providers.map((p) => (
        <Button key={p.name} component="a" variant="outline" href={`/v1/sign-in/oidc/${encodeURIComponent(p.name)}`}>
          {p.title}
        </Button>
      ))}
      {ways.mail && (
        <Button variant="outline" onClick={byMail}>
          Link by mail
        </Button>
      )}
      <Text size="sm" c="dimmed">
        The first operator’s link stands in a file of the server’s data directory; <code>fettle admin reset</code>{" "}
        writes a new one.
      </Text>
    </Stack>
  );
}

type Owe = (owed: { ticket: string; next: string }) => void;

function ByPassword({ owe, passkey }: { owe: Owe; passkey: boolean }) {
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const check = usePassword();
  function submit(e: FormEvent) {
    e.preventDefault();
    check.mutate({ email, password }, { onSuccess: owe });
  }
  return (
    <form onSubmit={submit}>
      <Stack>
        <TextInput
          type="email"
          name="email"
          label="E-mail address"
          required
          autoComplete="username webauthn"
          value={email}
          onChange={(e) => setEmail(e.currentTarget.value)}
        />
        <PasswordInput
          name="password"
          label="Password"
          required
          autoComplete="current-password"
          visibilityToggleButtonProps={{ "aria-label": "Show the password" }}
          value={password}
          onChange={(e) => setPassword(e.currentTarget.value)}
        />
        <Refused error={check.error} />
        {passkey && (
          <Text role="status" fw={600}>
            Your account has a passkey: go on with it.
          </Text>
        )}
        <Button type="submit" loading={check.isPending}>
          Sign in
        </Button>
      </Stack>
    </form>
  );
}

function ByPasskey() {
  const signIn = usePasskeySignIn();
  const enter = useEnter();
  return (
    <>
      <Button
        variant="outline"
        loading={signIn.isPending}
        onClick={() => signIn.mutate(undefined, { onSuccess: enter })}
      >
        Passkey
      </Button>
      {signIn.error && !gaveUp(signIn.error) && <Refused error={signIn.error} />}
    </>
  );
}

function SecondFactor({ ticket, again }: { ticket: string; again: () => void }) {
  const [code, setCode] = useState("");
  const signIn = useCode();
  const enter = useEnter();
  function submit(e: FormEvent) {
    e.preventDefault();
    signIn.mutate({ ticket, code }, { onSuccess: enter });
  }
  return (
    <form onSubmit={submit}>
      <Stack>
        <Title order={1}>Second factor</Title>
        <CodeField value={code} set={setCode} />
        <Refused error={signIn.error} />
        <Button type="submit" loading={signIn.isPending}>
          Sign in
        </Button>
        <Anchor component="button" type="button" onClick={again}>
          Begin again
        </Anchor>
      </Stack>
    </form>
  );
}

/** A password alone never suffices: the second factor is set up at the first sign-in. */
function FirstTime({ ticket, again }: { ticket: string; again: () => void }) {
  const enrolment = useFirstEnrolment(ticket);
  const done = useFirstEnrolled();
  const queries = useQueryClient();
  const navigate = useEnter();
  const enter = () => {
    queries.clear();
    navigate();
  };
  if (enrolment.isPending) return <Loading what="a new key" />;
  if (enrolment.error) return <Trouble what="Setting up the second factor" error={enrolment.error} retry={again} />;
  return (
    <Step name={done.data ? "codes" : "key"}>
      <Stack>
        <Title order={1} tabIndex={-1}>
          {done.data ? "Recovery codes" : "Set up a second factor"}
        </Title>
        {done.data ? (
          <RecoveryCodes codes={done.data.codes} done={enter} label="I have kept them" />
        ) : (
          <Authenticator
            enrolment={enrolment.data}
            busy={done.isPending}
            error={done.error}
            confirm={(code) => done.mutate({ ticket, code })}
          />
        )}
      </Stack>
    </Step>
  );
}

function AskForLink({ back }: { back: () => void }) {
  const [email, setEmail] = useState("");
  const send = useSendLink();
  function submit(e: FormEvent) {
    e.preventDefault();
    send.mutate(email);
  }
  return (
    <Step name={send.isSuccess ? "sent" : "ask"}>
      {send.isSuccess ? (
        <Stack role="status">
          <Title order={1} tabIndex={-1}>
            Look into your mail
          </Title>
          <Text>If {email} belongs to an operator, a link is on its way. It works once and for 15 minutes.</Text>
          <Button variant="outline" onClick={() => send.reset()}>
            Use another address
          </Button>
        </Stack>
      ) : (
        <form onSubmit={submit}>
          <Stack>
            <Title order={1}>Link by mail</Title>
            <TextInput
              type="email"
              name="email"
              label="E-mail address"
              required
              autoComplete="email"
              value={email}
              onChange={(e) => setEmail(e.currentTarget.value)}
            />
            <Refused error={send.error} />
            <Button type="submit" loading={send.isPending}>
              Send me a link
            </Button>
            <Anchor component="button" type="button" onClick={back}>
              Sign in another way
            </Anchor>
          </Stack>
        </form>
      )}
    </Step>
  );
}
