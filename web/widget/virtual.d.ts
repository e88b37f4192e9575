/** By language, the words of the portal's catalogue that the widget says. */
declare module "virtual:words" {
  const words: Record<string, Record<string, string>>;
  export default words;
}
