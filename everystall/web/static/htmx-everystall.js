// How htmx runs here: nothing that came with a page is evaluated, and its HTML goes through the one policy that
// the Content-Security-Policy allows. What it puts in is what our own templates escaped.

const off = () => { throw new Error("expressions in attributes are off"); };

htmx.registerExtension("everystall", {
  init(api) {
    const policy = window.trustedTypes?.createPolicy("htmx", { createHTML: (html) => html, createScript: () => "" })
      ?? { createHTML: (html) => html, createScript: () => "" };
    api.initSecurity(
      { createHTML: (html) => policy.createHTML(html), createScript: () => policy.createScript("") }, off, off,
    );
  },
});
