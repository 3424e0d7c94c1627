Invariant: koord-consent-recipient
Description: "A consent to collaborate that is told with its dates names the one actor that it is about (OSL 10 kap. 1 §)."
Severity: #error
Expression: "date.exists() implies provision.actor.where(role.coding.where(code = 'IRCP').exists()).count() = 1"
