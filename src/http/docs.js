// Draws the API's document. Nothing here asks another site: the validator, which would, is off.
"use strict";
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  validatorUrl: null,
  supportedSubmitMethods: TRIED_METHODS,
});
