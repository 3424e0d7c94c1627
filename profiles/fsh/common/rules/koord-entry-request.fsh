Invariant: koord-entry-request
Description: "An entry is put to the address of its resource, or posted to its type."
Severity: #error
Expression: "request.empty() or request.method = 'POST' or (request.method = 'PUT' and request.url.endsWith('/' & resource.id))"
