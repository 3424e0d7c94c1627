Profile: KoordBundleCollection
Parent: Bundle
Id: koord-bundle-collection
Title: "Records with what they refer to, for files and people"
Description: "What koord map writes."
* insert Package
* type = #collection
* entry.fullUrl 1..1
* entry.resource 1..1
