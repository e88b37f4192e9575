import { Button, Code, CopyButton, Group, Stack, Text } from "@mantine/core";

/** A secret the server tells once. */
export function Secret({ value }: { value: string }) {
  return (
    <Stack>
      <Text>It is shown this once. Keep it where it belongs before you close this.</Text>
      <Code block>{value}</Code>
      <Group>
        <CopyButton value={value}>
          {({ copied, copy }) => <Button onClick={copy}>{copied ? "Copied" : "Copy"}</Button>}
        </CopyButton>
      </Group>
    </Stack>
  );
}
