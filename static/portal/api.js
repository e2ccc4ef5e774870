"use strict";

const place = document.getElementById("api");
const csrfToken = document.querySelector("#logout-form [name=csrfmiddlewaretoken]").value;

/* Of Swagger UI the operations alone: the title is the console's, and whoever is here is signed in. */
const portal = ({ React }) => ({
  components: {
    Portal: ({ getComponent, specSelectors }) => {
      const shown = ["SvgAssets", "errors", ...(specSelectors.specStr() ? ["operations"] : [])];
      const elements = shown.map((name) => React.createElement(getComponent(name, true), { key: name }));
      return React.createElement("div", { className: "swagger-ui" }, elements);
    },
    authorizeOperationBtn: () => null,
  },
});

SwaggerUIBundle({
  domNode: place,
  url: place.dataset.schema,
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [portal],
  layout: "Portal",
  syntaxHighlight: false,
  validatorUrl: null,
  requestInterceptor(request) {
    if (!["GET", "HEAD"].includes(request.method ?? "GET")) request.headers["X-CSRFToken"] = csrfToken;
    return request;
  },
});

/* For those who hear the page: it leaves controls without names, and takes tables for landmarks. */
function tell() {
  for (const select of place.querySelectorAll("[data-param-name] select:not([aria-label])"))
    select.ariaLabel = select.closest("[data-param-name]").dataset.paramName;
  for (const text of place.querySelectorAll("textarea:not([aria-label])")) text.ariaLabel = "Body";
  for (const table of place.querySelectorAll("table[role=region]")) table.removeAttribute("role");
}

new MutationObserver(tell).observe(place, { childList: true, subtree: true });

/* It wears its dark colours by a class; the console by what the system says, or the button. */
const root = document.documentElement;
const night = matchMedia("(prefers-color-scheme: dark)");

function dress() {
  const { theme } = root.dataset;
  root.classList.toggle("dark-mode", theme === "dark" || (theme !== "light" && night.matches));
}

night.addEventListener("change", dress);
new MutationObserver(dress).observe(root, { attributeFilter: ["data-theme"] });
dress();
