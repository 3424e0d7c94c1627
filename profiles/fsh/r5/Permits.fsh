// One decision about one recipient. A provision of R5 is an exception to what stands above it, so that limits are told in two
// steps: nothing is permitted, except for these purposes and this information (docs/decisions/0119).
RuleSet: Permits
* decision = #permit
* grantor 0..1
* grantor only Reference(RelatedPerson)
* grantee 0..1
* grantee only Reference(Organization)
* sourceAttachment.data 0..0
* sourceAttachment.data ^short = "Never: the signed form stays where the journal keeps it"
* provision 0..1
* provision.purpose 0..0
* provision.purpose ^short = "Never: a purpose here would be one that is denied"
* provision.documentType 0..0
* provision.documentType ^short = "Never: information here would be what is denied"
* provision.provision 1..1
* provision.provision.actor ^slicing.discriminator.type = #value
* provision.provision.actor ^slicing.discriminator.path = "role"
* provision.provision.actor ^slicing.rules = #open
* provision.provision.actor contains recipient 0..1
* provision.provision.actor[recipient].role = $participation#IRCP
* provision.provision.actor[recipient].reference only Reference(Organization)
* provision.provision.purpose from https://koord.example/fhir/ValueSet/purpose (required)
* provision.provision.documentType from https://koord.example/fhir/ValueSet/information-category (required)
* provision.provision.provision 0..0
* provision.provision.provision ^short = "Never: exceptions would need a second reader of consents. A denial is a Consent of its own"
