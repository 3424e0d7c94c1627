// One decision about one recipient, told in one place.
RuleSet: Permits
* decision = #permit
* provision.provision 0..0
* provision.provision ^short = "Never: exceptions would need a second reader of consents. A denial is a Consent of its own"
* sourceAttachment.data 0..0
* sourceAttachment.data ^short = "Never: the signed form stays where the journal keeps it"
