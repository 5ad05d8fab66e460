// Shows GraphiQL on the address that this page itself came from.
"use strict";

const EXAMPLE = `# Where did it come from? Ctrl-Enter asks; Ctrl-Space completes.
# A server that wants to know who asks is told under "Headers" below:
#   {"Authorization": "Bearer <token>"}
{
  __typename
}
`;

const address = new URL(window.location.href);
// Of its own: those of `address` go with its search.
const asked = new URLSearchParams(address.search);
address.search = address.hash = "";

// What is asked stands in the address, so that it can be sent to others. Headers never do: they hold tokens.
function remember(name) {
  return (value) => {
    value ? asked.set(name, value) : asked.delete(name);
    const search = asked.toString();
    history.replaceState(null, "", address.pathname + (search && `?${search}`));
  };
}

function Page() {
  const [query, setQuery] = React.useState(asked.get("q") ?? EXAMPLE);
  const [explorer] = React.useState(() => GraphiQLPluginExplorer.explorerPlugin());
  return React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({ url: address.href, subscriptionUrl: address.href.replace(/^http/, "ws") }),
    query,
    variables: asked.get("variables") ?? undefined,
    plugins: [explorer],
    onEditQuery: (value) => {
      setQuery(value);
      remember("q")(value);
    },
    onEditVariables: remember("variables"),
    shouldPersistHeaders: false,
  });
}

ReactDOM.createRoot(document.getElementById("graphiql")).render(React.createElement(Page));
