// The release of a CapabilityStatement or an ImplementationGuide.
RuleSet: Release
* fhirVersion = #4.0.1
