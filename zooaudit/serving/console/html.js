// Preact and htm, as all pages use them: components as functions, markup as tagged templates, no build step.
import { h, render } from "./preact.js";
import { useEffect, useRef, useState } from "./hooks.js";
import htm from "./htm.js";

const html = htm.bind(h);
export { html, render, useEffect, useRef, useState };
