Profile: KoordBundleTransaction
Parent: Bundle
Id: koord-bundle-transaction
Title: "What is sent: a package, a notice or an entry in the journal"
Description: "One transaction, taken as a whole or not at all. A repeat does no harm: each entry is a PUT to an address that never changes. Peers may POST."
* insert Package
* type = #transaction
* entry.fullUrl 1..1
* entry.resource 1..1
* entry.request 1..1
* entry.request.ifNoneExist 0..0
* entry.request.ifNoneExist ^short = "Never: a search decides nothing here; a business number does"
* entry.request.ifModifiedSince 0..0
* entry obeys koord-entry-request
