// A type of resource in the transactions that are sent, and the profile that all of it follows.
RuleSet: Sends(n, type, profile)
* rest.resource[{n}].type = #{type}
* rest.resource[{n}].profile = "https://koord.example/fhir/StructureDefinition/{profile}"
* rest.resource[{n}].interaction.code = #update
* rest.resource[{n}].updateCreate = true
