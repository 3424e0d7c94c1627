Profile: KoordBundleSearchset
Parent: Bundle
Id: koord-bundle-searchset
Title: "The answer to a search"
Description: "The records that the reader may see, and what they refer to. What may not be seen leaves no trace."
* insert Package
* type = #searchset
* total 0..0
* total ^short = "Never: it would count what is blocked or not consented to (PDL 4 kap. 4 §)"
* entry.fullUrl 1..1
* entry.resource 1..1
* entry.search 1..1
* entry.search.mode 1..1
* entry.search.score 0..0
