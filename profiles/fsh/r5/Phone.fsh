// R5 holds it under contact.
RuleSet: Phone
* insert BySystem(contact.telecom)
* insert Reached(contact.telecom, phone)
