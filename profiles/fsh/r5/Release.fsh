// The release of a CapabilityStatement or an ImplementationGuide.
RuleSet: Release
* fhirVersion = #5.0.0
