// Passkeys: asks the browser for one, and sends what it answers with the form around the button.

const able = globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON;

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const say = (name) => {
    for (const el of form.querySelectorAll("[data-passkey-says]")) el.hidden = el.dataset.passkeySays !== name;
  };
  const button = form.querySelector("button[type=button]");
  if (!able) {
    if (form.dataset.passkey === "create") say("unable");
    continue;
  }
  form.hidden = button.hidden = false;
  button.addEventListener("click", async () => {
    say("");
    button.disabled = true;
    try {
      form.elements.credential.value = JSON.stringify(await answer(form));
      form.requestSubmit();
    } catch (error) {
      say(error.name === "SecurityError" ? "elsewhere" : error.name === "TypeError" ? "away" : "refused");
    } finally {
      button.disabled = false;
    }
  });
}

async function answer(form) {
  if (form.dataset.passkey === "create") {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(form.dataset.options));
    return (await navigator.credentials.create({ publicKey })).toJSON();
  }
  const asked = await fetch(form.dataset.url, { method: "POST" });
  if (!asked.ok) throw new TypeError("not asked");
  const { options, ticket } = await asked.json();
  form.elements.ticket.value = ticket;
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return (await navigator.credentials.get({ publicKey })).toJSON();
}
