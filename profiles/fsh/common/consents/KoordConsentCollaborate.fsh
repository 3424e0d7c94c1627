Profile: KoordConsentCollaborate
Parent: KoordConsent
Id: koord-consent-collaborate
Title: "Consent to collaborate with one actor"
Description: "The patient lifts secrecy towards one named actor (OSL 10 kap. 1 §, 12 kap. 2 §)."
* category[kind] = $consent-kind#collaborate
* insert Act([[https://www.riksdagen.se/sv/dokument-lagar/dokument/svensk-forfattningssamling/lag-20191297-om-koordineringsinsatser-for_sfs-2019-1297]])
