// The FHIR package of this release.
RuleSet: PackageId
* packageId = "koord.fhir.r5"
