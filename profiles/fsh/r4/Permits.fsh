// One decision about one recipient, told in one place.
RuleSet: Permits
* performer 0..1
* performer only Reference(RelatedPerson)
* source[x] only Attachment
* sourceAttachment.data 0..0
* sourceAttachment.data ^short = "Never: the signed form stays where the journal keeps it"
* provision.type = #permit
* provision.actor ^slicing.discriminator.type = #value
* provision.actor ^slicing.discriminator.path = "role"
* provision.actor ^slicing.rules = #open
* provision.actor contains recipient 0..1
* provision.actor[recipient].role = $participation#IRCP
* provision.actor[recipient].reference only Reference(Organization)
* provision.purpose from https://koord.example/fhir/ValueSet/purpose (required)
* provision.class from https://koord.example/fhir/ValueSet/information-category (required)
* provision.provision 0..0
* provision.provision ^short = "Never: exceptions would need a second reader of consents. A denial is a Consent of its own"
