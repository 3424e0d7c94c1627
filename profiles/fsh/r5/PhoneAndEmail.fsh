// R5 holds it under contact.
RuleSet: PhoneAndEmail
* insert BySystem(contact.telecom)
* insert Reached(contact.telecom, phone)
* insert Reached(contact.telecom, email)
